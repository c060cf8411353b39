"""The shop's own classes: what travels between the functions."""

from __future__ import annotations

from decimal import Decimal


class Item:
    """Something in a basket."""

    def __init__(self, name: str, price: Decimal) -> None:
        self.name = name
        self.price = price

    @staticmethod
    def to_json(item: Item) -> str:
        """Return what is stored."""
        return f"{item.name} at {item.price}"

    @staticmethod
    def from_json(text: str) -> Item:
        """Return the item of :meth:`to_json`."""
        name, _, price = text.rpartition(" at ")
        return Item(name, Decimal(price))


class Basket:
    """A customer's basket."""

    def __init__(self, customer: str, items: list[Item]) -> None:
        self.customer = customer
        self.items = items

    @staticmethod
    def to_json(basket: Basket) -> dict:
        """Return what is stored."""
        items = [Item.to_json(item) for item in basket.items]
        return {"customer": basket.customer, "items": items}

    @staticmethod
    def from_json(stored: dict) -> Basket:
        """Return the basket of :meth:`to_json`."""
        return Basket(stored["customer"], [Item.from_json(text) for text in stored["items"]])
