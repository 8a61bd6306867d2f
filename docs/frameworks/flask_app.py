"""Flask. Run: opentelemetry-instrument flask --app flask_app run"""

from flask import Flask
from prices import read_price, read_stock

app = Flask(__name__)


@app.get("/price/<text>")
def price(text: str) -> str:
    return str(read_price(text))


@app.get("/stock/<text>")
def stock(text: str) -> str:
    return str(read_stock(text))
