"""Celery. Run: opentelemetry-instrument celery --app celery_app worker --pool solo"""

from celery import Celery, Task
from prices import read_price, read_stock

app = Celery("shop", broker="memory://", backend="cache+memory://")


@app.task
def price(text: str) -> float:
    return read_price(text)


@app.task(bind=True, max_retries=2, default_retry_delay=0)
def stock(self: Task, text: str) -> int:
    try:
        return read_stock(text)
    except KeyError as error:
        raise self.retry(exc=error) from error
