"""A plain program over a list. Run: HEALSPAN_UNCAUGHT=1 opentelemetry-instrument python batch.py '$1,234' gone"""

import sys

from prices import read_price, read_stock

if __name__ == "__main__":
    print(read_price(sys.argv[1]))
    print(read_stock(sys.argv[2]))
