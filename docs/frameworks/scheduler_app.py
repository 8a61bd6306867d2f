"""APScheduler: a job each second. Run: opentelemetry-instrument python scheduler_app.py '$1,234' gone"""

import sys

from apscheduler.schedulers.blocking import BlockingScheduler
from prices import read_price, read_stock

scheduler = BlockingScheduler()


def report(price: str, stock: str) -> None:
    print(read_price(price), flush=True)
    print(read_stock(stock), flush=True)


if __name__ == "__main__":
    scheduler.add_job(report, "interval", seconds=1, args=sys.argv[1:3])
    scheduler.start()
