"""FastAPI with its metrics at /metrics. Run: opentelemetry-instrument uvicorn metrics_app:app"""

from fastapi import FastAPI
from prices import read_price, read_stock
from prometheus_client import make_asgi_app

app = FastAPI()
app.mount("/metrics", make_asgi_app())


@app.get("/price/{text}")
def price(text: str) -> float:
    return read_price(text)


@app.get("/stock/{text}")
def stock(text: str) -> int:
    return read_stock(text)
