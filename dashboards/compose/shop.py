"""The example service: two endpoints over a price list, and /metrics. Boundaries are in healspan.toml beside it."""

from fastapi import FastAPI
from prices import read_price, read_stock
from prometheus_client import make_asgi_app

app = FastAPI()
app.mount("/metrics", make_asgi_app())


@app.get("/price/{text}")
def price(text: str) -> float:
    """A price in dollars; `$1,234` fails in `float`, and is healed."""
    return read_price(text)


@app.get("/stock/{text}")
def stock(text: str) -> int:
    """How many there are; an unknown word is escalated."""
    return read_stock(text)
