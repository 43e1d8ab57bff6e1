"""The local Klar's page in a real browser: what it shows, that it stays up to date, and that no record runs in it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from calls import COSTS_PATH, REFUNDS_PATH, call, post
from klar_objects import cost, item, order, refund

from target_klar.sandbox import Moment, Request, Sandbox

pytest.importorskip("selenium", reason="the page is tested with selenium, which is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    # One process shows all pages, since a new one for each costs more than what it shows.
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--disable-features=BackForwardCache,ProactivelySwapBrowsingInstance,SpareRendererForSitePerProcess",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("the page"),  # one browser
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason=f"there is no {CHROMIUM} with {DRIVER}"),
]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    # Here alone, since every worker collects this file and one runs it.
    from selenium import webdriver  # noqa: PLC0415
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    with webdriver.Chrome(options=options, service=Service(str(DRIVER))) as browser:
        yield browser


class Page:
    """The page of one local Klar, as somebody who looks at it sees it."""

    def __init__(self, browser: Chrome, klar: Sandbox) -> None:
        self.browser, self.klar = browser, klar

    def open(self, width: int = 1200, scheme: str = "light") -> None:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 700}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.browser.get(self.klar.url)
        self.shows("This page keeps itself up to date")

    def text(self, selector: str = "body") -> str:
        return self.browser.find_element(By.CSS_SELECTOR, selector).text

    def shows(self, text: str, selector: str = "body") -> None:
        """Waits until a part of the page shows a text; the page draws itself anew every second."""
        self.until(lambda: text in self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def until(self, holds: Callable[[], bool]) -> None:
        from selenium.webdriver.support.wait import WebDriverWait  # noqa: PLC0415 - as in `chromium`

        WebDriverWait(self.browser, 10, 0.1).until(lambda _: holds(), message=self.text())

    def run(self, script: str, *arguments: object) -> Any:
        return self.browser.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        log = self.browser.get_log("browser")  # type: ignore[no-untyped-call]  # selenium's
        return [entry["message"] for entry in log]


@pytest.fixture
def page(chromium: Chrome, klar: Sandbox) -> Iterator[Page]:
    """The page of this test's Klar; at the end the browser must have nothing to complain of."""
    shown = Page(chromium, klar)
    shown.complaints()
    yield shown
    assert shown.complaints() == []
    chromium.get("about:blank")


def test_an_empty_klar_says_how_to_reach_it(page: Page) -> None:
    page.open()

    assert f'"api_url": "{page.klar.url}"' in page.text("#hint")
    assert page.text("#refused").startswith("Refused by Klar, and why\ntarget-klar stops what breaks Klar's contract")
    assert page.text("#refused").endswith("\nNothing.")
    assert page.klar.token not in page.browser.page_source


def test_what_arrived_is_shown_with_its_fields_digit_for_digit(page: Page) -> None:
    post(
        page.klar, REFUNDS_PATH, [refund(f"R{n}", lineItems=[item(reasonDescriptor="too small")]) for n in range(1000)]
    )
    post(page.klar, REFUNDS_PATH, [refund("R-last", lineItems=[])])
    post(page.klar, COSTS_PATH, '{"items": [{"orderId": "O1", "transactionCosts": 19.90}]}')
    page.open()

    assert page.text("[data-stream=refunds] .number") == "1,001 held"
    assert page.text("[data-stream=transaction_costs] .number") == "1 held"
    assert page.text("[data-records=refunds] h2") == "Latest refunds (12 of 1,001)"
    last, before = (page.text(f"[data-records=refunds] .rows > tbody > tr:nth-child({place})") for place in (1, 2))
    assert last.split("\n") == ["R-last", "1700000000", "2023-11-14 22:13:20 UTC", "none: cancelled"]
    assert before.split("\n")[3:] == ["lineItemId refundedQuantity reasonDescriptor", "5", "1", "too small"]
    assert page.text("[data-records=transaction_costs] tbody") == "O1\n19.90"


def test_whom_an_order_went_to_is_shown_on_a_click_alone(page: Page) -> None:
    lines = [{"id": "L1", "quantity": 2, "taxes": []}, {"id": "L2", "quantity": 1}]
    first = order("O1", lineItems=lines, customer={"email": "anna@customer.example"})
    post(page.klar, "/12.2022/orders/json", [first, first | {"id": "O2", "shipping": {"city": "Hof"}}])
    post(page.klar, "/12.2022/orders/json", [first | {"customer": {"email": ["anna@customer.example"]}}])
    page.open()

    assert page.text("[data-stream=orders] .number") == "2 held, 1 refusal"
    rows = page.text("[data-records=orders] .rows > tbody")
    assert "L1" in rows
    assert "personal data" in rows
    assert "customer.example" not in page.text()
    assert "Hof" not in page.text()
    page.browser.find_element(By.CSS_SELECTOR, "[data-records=orders] summary").click()
    assert "Hof" in page.text() or "customer.example" in page.text()


def filled_order(key: str, lines: int) -> dict[str, Any]:
    """An order in which nearly every field of Klar's is filled."""
    line = {
        "productName": "Linen shirt with long sleeves",
        "productVariantName": "M / navy",
        "productBrand": "Nordkap",
        "productTags": ["winter", "linen"],
        "sku": "SKU-0001",
        "quantity": 2,
        "totalAmountBeforeTaxesAndDiscounts": 117.98,
        "totalAmountAfterTaxesAndDiscounts": 99.14,
        "discounts": [{"title": "WELCOME10", "discountAmount": 4}],
        "taxes": [{"title": "VAT 19%", "taxRate": 0.19, "taxAmount": 15.83}],
    }
    return {
        "id": key,
        "createdAt": 1_700_000_000,
        "updatedAt": 1_700_000_000,
        "orderName": "#1001",
        "currencyCodeIso3Letter": "EUR",
        "financialStatus": "paid",
        "lineItems": [{"id": f"14030000000{place:03}", **line} for place in range(lines)],
        "shipping": {"city": "Hof"},
        "optionalIdentifiers": {"utmSource": "newsletter"},
    }


@pytest.mark.parametrize("width", [1920, 1200, 390])
def test_no_word_of_an_order_is_broken_and_nothing_of_it_is_hidden(page: Page, width: int) -> None:
    post(page.klar, "/12.2022/orders/json", [filled_order(f"530000000000{place}", 30) for place in range(3)])
    page.open(width)

    broken = page.run(
        """const texts = [...document.querySelectorAll("[data-records=orders] :is(.value, h3, dt, th)")];
        const visible = texts.filter((text) => text.getClientRects().length && text.textContent);
        const words = (text) => text.textContent.split(/[ \\/]+|(?=[A-Z][a-z])/).length;
        return [visible.length, visible.filter((text) => text.getClientRects().length > words(text)
          || (text.localName !== "span" && text.scrollWidth > text.clientWidth + 1)).map((text) => text.textContent)]"""
    )
    assert broken[0] > 100
    assert broken[1] == []
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert (
        page.run("return [...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth)")
        == []
    )
    assert "VAT 19%" in page.text("[data-records=orders]")
    assert "99.14" in page.text("[data-records=orders]")


def test_an_order_shows_three_lines_and_the_rest_on_request_and_stays_unfolded(page: Page) -> None:
    post(page.klar, "/12.2022/orders/json", [filled_order("O1", 30), filled_order("O2", 30)])
    page.open()
    lines = """return [...document.querySelectorAll(".lines tbody")]
        .map((body) => body.querySelectorAll("tr:not(.more)").length)"""

    assert page.run(lines) == [3, 3]
    assert "Hof" not in page.text()
    page.browser.find_element(By.CSS_SELECTOR, "article button").click()
    page.browser.find_element(By.CSS_SELECTOR, "article summary").click()
    assert page.run(lines) == [30, 3]
    post(page.klar, REFUNDS_PATH, [refund()])
    page.shows("1 held", "[data-stream=refunds]")
    assert page.run(lines) == [30, 3]
    assert page.text().count("Hof") == 1


def test_a_field_of_any_shape_is_shown(page: Page) -> None:
    page.klar.extra_fields = ["note"]
    note = ["deep", {"inner": [[1, {"more": None}], []]}, [["deeper"]]]
    lines = [{"id": "L1", "quantity": 1, "note": note}]
    post(page.klar, "/12.2022/orders/json", [filled_order("O1", 1) | {"lineItems": lines, "note": note}])
    post(page.klar, REFUNDS_PATH, [refund(note=note)])
    page.open()

    for stream in ("orders", "refunds"):
        shown = page.text(f"[data-records={stream}]")
        assert [word for word in ("deep", "inner", "more", "null", "deeper") if word not in shown] == []


def test_a_stream_of_which_everything_was_refused_is_shown(page: Page) -> None:
    post(page.klar, "/12.2022/orders/json", [filled_order("O1", 1) | {"createdAt": "soon"}])
    page.open()

    assert page.text("[data-stream=orders] .number") == "0 held, 1 refusal"
    color = "return getComputedStyle(document.querySelector(arguments[0])).color"
    assert page.run(color, "[data-stream=orders] .bad") == page.run(color, "#refused .bad")


def test_a_load_that_is_not_answered_yet_has_not_failed(page: Page) -> None:
    asked, release = threading.Event(), threading.Event()

    def wait(moment: Moment, _: Request) -> None:
        if moment == "received" and page.klar.requests[-1].number == 3:
            asked.set()
            release.wait(20)

    page.klar.observer = wait
    for key in ("R1", "R2"):
        post(page.klar, REFUNDS_PATH, [refund(key)])
    last = threading.Thread(target=post, args=(page.klar, REFUNDS_PATH, [refund("R3")]))
    last.start()
    assert asked.wait(20)
    try:
        page.open()
        assert "1 loading now" in page.text("#traffic")
        assert "2 accepted, 0 refused or failed" in page.text("#loads")
    finally:
        release.set()
        last.join()
    page.shows("3 accepted, 0 refused or failed", "#loads")


def test_a_link_leads_to_what_is_held_as_json_lines(page: Page) -> None:
    post(page.klar, COSTS_PATH, '{"items": [{"orderId": "O1", "transactionCosts": 19.90}]}')
    page.open()

    link = page.browser.find_element(By.LINK_TEXT, "All as JSON lines").get_attribute("href")
    told = page.run("return fetch(arguments[0]).then((answer) => answer.text())", link)
    assert told == '{"stream": "transaction_costs", "object": {"orderId": "O1", "transactionCosts": 19.90}}\n'


def test_the_status_is_shown_as_klar_gives_it(page: Page) -> None:
    post(page.klar, REFUNDS_PATH, [refund("R1"), refund("R2")])
    post(page.klar, REFUNDS_PATH, [refund(7)])
    page.open()

    told = call(page.klar, "GET", "/refunds/status").json()
    assert page.text("[data-stream=refunds] dl").split() == [word for pair in told.items() for word in pair]


def test_what_was_refused_is_shown_with_the_reason(page: Page) -> None:
    post(page.klar, REFUNDS_PATH, [refund("R1"), refund("R2", lineItems=[item(refundedQuantity="1,5")])])
    page.open()

    cells = [cell.text for cell in page.browser.find_elements(By.CSS_SELECTOR, "#refused td")]
    assert cells[:-1] == [
        "R2",
        "refunds",
        "1",
        "lineItems[0].refundedQuantity",
        "refundedQuantity must be a number conforming to the specified constraints",
        '"1,5"',
    ]
    assert "400" in page.text("#requests tbody")
    assert page.text("[data-stream=refunds] .number") == "0 held, 1 refusal"


def test_a_key_that_is_refused_again_and_again_is_one_row_and_the_rest_comes_on_request(page: Page) -> None:
    for number in range(50):
        post(page.klar, REFUNDS_PATH, [refund(f"R{number}", createdAt="soon")])
    for _ in range(4):
        post(page.klar, REFUNDS_PATH, [refund("R7", createdAt="soon")])
    page.open()

    row = "#refused tbody tr:first-child"
    assert page.text(row).split()[:3] == ["R7", "refunds", "5"]
    assert page.run("return document.querySelectorAll('#refused tbody tr').length") == 12
    assert page.text("#all") == "Show all 50 (12 shown)"
    page.browser.find_element(By.ID, "all").send_keys(Keys.ENTER)
    page.until(lambda: page.run("return document.querySelectorAll('#refused tbody tr').length") == 50)
    assert not page.browser.find_element(By.ID, "all").is_displayed()
    assert "54 loads" in page.text("#loads")
    assert "0 accepted, 54 refused or failed" in page.text("#loads")


def test_a_key_is_found_among_thousands(page: Page) -> None:
    for start in range(0, 5000, 1000):
        post(page.klar, REFUNDS_PATH, [refund(f"R{number}") for number in range(start, start + 1000)])
    page.open()
    page.browser.find_element(By.ID, "find").send_keys("r4321")
    page.until(
        lambda: page.run("return document.querySelectorAll('[data-records=refunds] .rows > tbody > tr').length") == 1
    )

    assert page.text("[data-records=refunds] .rows > tbody").startswith("R4321")
    assert page.text("[data-stream=refunds] .number") == "5,000 held"
    page.browser.find_element(By.ID, "find").send_keys("x")
    page.shows("None with this key.", "[data-records=refunds]")


def test_an_id_is_never_broken_and_the_key_comes_first(page: Page) -> None:
    key = "5300000000123456789"
    post(page.klar, REFUNDS_PATH, [{"createdAt": 1_700_000_000, "lineItems": [item(lineItemId=key)], "id": key}])
    page.open(390)

    heights = page.run(
        "return [...document.querySelectorAll('[data-records=refunds] .id')].map((id) => id.getClientRects().length)"
    )
    assert heights == [1, 1]
    assert page.text("[data-records=refunds] .rows > tbody").split("\n")[0] == key
    assert page.run("return document.documentElement.scrollWidth") <= 390


def test_what_arrived_when_is_drawn(page: Page) -> None:
    post(page.klar, REFUNDS_PATH, [refund("R1")])
    post(page.klar, REFUNDS_PATH, [refund(7)])
    post(page.klar, REFUNDS_PATH, [refund("R2")])
    page.open()

    page.shows("3 loads from ", "#loads")
    page.shows("2 accepted, 1 refused or failed", "#loads")
    drawn = page.run("return ['took', 'failed'].map((kind) => document.querySelectorAll(`#loads .${kind}`).length)")
    assert drawn[0] >= 1
    assert drawn[1] == 1


def test_a_fault_on_request_is_shown_as_one(page: Page) -> None:
    page.klar.misbehave("503@1", "reset-after@2")
    post(page.klar, COSTS_PATH, {"items": [cost()]})
    page.open()

    assert page.text("#requests tbody").count("503") == 2


def test_it_keeps_itself_up_to_date_without_being_loaded_again(page: Page) -> None:
    page.open()
    page.run("window.stays = true")
    for number in range(1, 4):
        post(page.klar, REFUNDS_PATH, [refund(f"R{number}")])
        page.shows(f"{number} held", "[data-stream=refunds]")

    assert page.run("return window.stays") is True


def test_what_stands_there_is_not_drawn_anew_while_nothing_changes(page: Page) -> None:
    post(page.klar, REFUNDS_PATH, [refund("R1")])
    page.open()
    page.run("window.drawn = document.querySelector('[data-records=refunds] td')")
    page.run("window.asked = 0; const fetched = fetch; window.fetch = (...all) => (asked += 1, fetched(...all))")
    page.until(lambda: page.run("return asked >= 2"))

    assert page.run("return drawn.isConnected") is True


def test_the_button_asks_first_and_then_clears_everything(page: Page) -> None:
    post(page.klar, REFUNDS_PATH, [refund("R1")])
    post(page.klar, REFUNDS_PATH, [refund(7)])
    page.open()
    page.browser.find_element(By.ID, "clear").send_keys(Keys.ENTER)
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)  # which keeps it
    page.until(lambda: page.run("return !document.getElementById('sure').open"))
    assert page.klar.refunds
    page.browser.find_element(By.ID, "clear").click()
    page.browser.find_element(By.CSS_SELECTOR, "#sure button[value=clear]").click()
    page.shows("0 held", "[data-stream=refunds]")

    assert (page.klar.refunds, page.klar.refused, page.klar.requests) == ({}, [], [])
    assert "R1" not in page.text()


def test_markup_in_a_record_is_shown_as_text_and_never_runs(page: Page) -> None:
    attack = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    page.klar.extra_fields = [attack]
    post(page.klar, REFUNDS_PATH, [refund(attack, lineItems=[item(reasonDescriptor=attack)], **{attack: attack})])
    post(page.klar, REFUNDS_PATH, [refund(attack, createdAt=attack)])
    post(page.klar, COSTS_PATH, {"items": [cost(attack)]}, **{"User-Agent": attack})
    page.open()

    assert page.text("[data-records=refunds]").count(attack) == 4
    assert page.text("[data-records=transaction_costs]").count(attack) == 1
    assert attack in page.text("#refused")
    assert attack in page.text("#requests")
    assert page.browser.find_elements(By.TAG_NAME, "img") == []
    assert page.browser.title == "A local Klar"


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_scrolls_sideways(page: Page, width: int) -> None:
    long = "x" * 300
    items = [item(id=long, lineItemId=long, reasonDescriptor=long, processedAt=1_700_000_000)] * 2
    post(page.klar, REFUNDS_PATH, [refund(long, updatedAt=1_700_000_000, lineItems=items), refund("R2")])
    post(page.klar, REFUNDS_PATH, [refund(long, **{long: long})])
    post(page.klar, COSTS_PATH, {"items": [cost(long, transactionCosts=int("9" * 300))]}, **{"User-Agent": long})
    bought = {"id": long, "quantity": 1, "sku": long, "taxes": [{"title": long}], "productTags": [long]}
    names = {"tags": long, "optionalIdentifiers": {"landingPage": long}, "lineItems": [bought] * 4}
    post(page.klar, "/12.2022/orders/json", [filled_order(long, 0) | names])
    page.open(width)
    page.browser.find_element(By.CSS_SELECTOR, "article summary").click()

    assert page.run("return document.documentElement.scrollWidth") <= width


def test_a_phone_shows_the_name_of_every_field_beside_its_value(page: Page) -> None:
    post(page.klar, COSTS_PATH, {"items": [cost("O1")]})
    page.open(360)

    cell = "document.querySelector('[data-records=transaction_costs] td:last-child')"
    assert page.run(f"return getComputedStyle({cell}, '::before').content") == json.dumps("transactionCosts")
    assert page.run(f"return getComputedStyle({cell}).display") == "grid"


def test_it_is_dark_where_the_reader_likes_it_dark(page: Page) -> None:
    papers = []
    for scheme in ("light", "dark"):
        page.open(scheme=scheme)
        papers.append(page.run("return getComputedStyle(document.body).backgroundColor"))

    assert papers == ["rgb(251, 250, 247)", "rgb(23, 22, 19)"]


def test_it_says_when_the_local_klar_has_ended(page: Page) -> None:
    with Sandbox() as other:
        shown = Page(page.browser, other)
        post(other, REFUNDS_PATH, [refund("R1")])
        shown.open()
    shown.shows("No answer: this Klar has ended")

    assert "R1" in shown.text("[data-records=refunds]")
    shown.browser.get("about:blank")
    assert all("ERR_CONNECTION_REFUSED" in complaint for complaint in shown.complaints())
