"""The installed tap-shopify with Shopify's answers from a file: run by that tap's own interpreter, in its place.

Only the network is replaced. What comes out is made by the tap: its schema, its transformation of GraphQL's edges,
its catalog, its bookmarks.
"""

from __future__ import annotations

import json
from pathlib import Path

import shopify
import tap_shopify

ANSWERS = Path(__file__).parents[1] / "data" / "shopify_answers_with_order_refunds.json"


class CannedAnswers:
    """Stands where the tap's GraphQL client stands, and knows the two questions that are asked."""

    def execute(self, query: str, **_: object) -> str:
        """Answers with the app's scopes, or with all orders: the tap itself leaves out refunds that are too old."""
        if "accessScopes" in query:
            return json.dumps({"data": {"currentAppInstallation": {"accessScopes": [{"handle": "read_orders"}]}}})
        assert "refundLineItems" in query, query
        assert "note" not in query, query
        return ANSWERS.read_text(encoding="utf-8")


def shop() -> dict[str, object]:
    """Says what Shopify says of the shop."""
    return {"id": 1, "name": "A shop", "myshopify_domain": "a-shop.myshopify.com"}


shopify.GraphQL = CannedAnswers
tap_shopify.initialize_shopify_client = shop
tap_shopify.main()
