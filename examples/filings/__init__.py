"""A small valuation pipeline over SEC filings: the example that `healspan demo` runs.

It was written as an engineer would write it after reading three annual reports (Apple, Coca-Cola and
The Home Depot, fiscal 2024). Every other filing is production: what it brings is the job of healing.

    documents.py   HTML -> blocks of text and tables, as a reader sees them
    tables.py      a table -> labelled rows and the period each column stands for
    statements.py  a filing -> its income statement and balance sheet
    records.py     what the pipeline returns
    checks.py      what every answer must satisfy
    extraction.py  revenue, cost of sales, current assets, current liabilities
    balance.py     working capital, in three steps that need each other
    valuation.py   a simple discounted cash flow, and the run over one filing
"""
