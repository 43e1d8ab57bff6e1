"""The words of the trade: what names of streams and columns say, in English and in German."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import groupby
from typing import Final


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


# What shops, payment providers and ERPs write for a word: other words, short forms, German. Plurals need no entry, nor
# do compounds whose parts are all known (Auftragsnummer, ordernumber).
_SPELLINGS: Final = {
    "amount": "betrag",
    "balance": "",
    "cancellation": "storno stornierung",
    "charge": "",
    "cogs": "wareneinsatz",
    "cost": "kosten",
    "cost price": "selbstkosten",
    "created": "erstellt erstell creation erstellung angelegt",
    "credit": "",
    "credit note": "gutschrift creditmemo",
    "currency": "waehrung",
    "customer": "kunde",
    "date": "datum",
    "delivery": "deliveries liefer lieferung",
    "document": "beleg",
    "fee": "gebuehr",
    "freight": "fracht spedition",
    "fulfillment": "fulfilment",
    "good": "",
    "gross": "brutto",
    "id": "identifier",
    "inventory": "inventories lagerbestand",
    "item": "",
    "landed": "",
    "line": "zeile",
    "logistic": "logistik",
    "memo": "",
    "minor": "cent",
    "net": "netto",
    "note": "",
    "number": "nummer nr no num",
    "order": "auftrag auftraege bestell bestellung ordered",
    "payment": "zahlung",
    "payout": "auszahlung",
    "piece": "stueck stk",
    "placed": "",
    "position": "pos",
    "postage": "porto",
    "price": "preis",
    "product": "article artikel produkt",
    "product number": "artnr",
    "purchase": "einkauf",
    "purchase price": "ek ekpreis einstandspreis",
    "quantity": "quantities qty menge anzahl stueckzahl",
    "refund": "refunded rueckerstattung erstattung",
    "return": "returned retoure retour ruecksendung rueckgabe",
    "reversal": "",
    "row": "",
    "sale": "verkauf verkaeufe",
    "shipment": "sendung",
    "shipping": "versand",
    "sku": "",
    "sold": "",
    "sum": "summe",
    "supplier": "lieferant vendor",
    "time": "",
    "timestamp": "zeitpunkt zeitstempel",
    "total": "gesamt",
    "transaction": "transaktion",
    "unit": "",
    "utc": "gmt",
    "value": "wert",
    "variant": "variante",
}
_SAY_NOTHING: Final = word_set("am at der des in of on per pro the vom von")
_MEANINGS: Final = {
    spelling: tuple(word.split())
    for word, others in _SPELLINGS.items()
    for spelling in (*others.split(), *([word] if " " not in word else []))
}
_LINKS: Final = ("", "s", "n", "en", "e", "es")
"""What German puts between two parts of a compound, and both languages at the end of a plural."""
_SHORTEST_PART: Final = 3
"""Letters that a word needs to stand inside of a compound: shorter ones (no, ek) are in too many others."""
_LONGEST_COMPOUND: Final = 60
_PARTS: Final = sorted(_MEANINGS, key=len, reverse=True)
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")


@lru_cache(maxsize=4096)
def words_of(name: str) -> tuple[str, ...]:
    """Return what a name says, in the words of `target_klar.suggestions`: known ones in English, others as they are."""
    text = unicodedata.normalize("NFC", name)
    spelled = (text.lower() if text.isupper() else text).translate(_UMLAUTS)
    words = (word.lower() for word in _WORD.findall(spelled))
    said = (part for word in words if word not in _SAY_NOTHING for part in _meaning(word) or (word,))
    return tuple(word for word, _ in groupby(said))  # an EK-Preis is an EK


def phrases(text: str) -> list[tuple[tuple[str, ...], int]]:
    """Return the phrases of a list of them, each as its words, and with the number of `;` before it."""
    return [
        (tuple(phrase.split()), tier)
        for tier, part in enumerate(text.split(";"))
        for phrase in part.split(",")
        if phrase.strip()
    ]


@lru_cache(maxsize=4096)
def _meaning(word: str) -> tuple[str, ...] | None:
    """Return what the parts of a word say, if it is made of known ones alone; the longest parts are tried first."""
    for part in _PARTS if len(word) <= _LONGEST_COMPOUND else ():
        if not word.startswith(part):
            continue
        for link in _LINKS:
            if not word.startswith(link, len(part)):
                continue
            rest = word[len(part) + len(link) :]
            if not rest:
                return _MEANINGS[part]
            if len(part) >= _SHORTEST_PART and (others := _meaning(rest)):
                return *_MEANINGS[part], *others
    return None
