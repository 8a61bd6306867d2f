"""FastAPI. Run: opentelemetry-instrument uvicorn fastapi_app:app"""

from fastapi import FastAPI
from prices import read_price, read_stock

app = FastAPI()


@app.get("/price/{text}")
def price(text: str) -> float:
    return read_price(text)


@app.get("/stock/{text}")
async def stock(text: str) -> int:
    return read_stock(text)
