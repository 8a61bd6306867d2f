"""Flask in three processes that share one /metrics; the directory has to be there, and empty, at the start.

Run: PROMETHEUS_MULTIPROC_DIR=$(mktemp -d) gunicorn --workers 3 prefork_app:app
"""

from flask import Flask
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.multiprocess import MultiProcessCollector
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from healspan.instrumentation import error_boundary
from healspan.instrumentation.middleware import WsgiPipeline

app = Flask(__name__)
all_processes = CollectorRegistry()
MultiProcessCollector(all_processes)
app.wsgi_app = DispatcherMiddleware(WsgiPipeline(app.wsgi_app), {"/metrics": make_wsgi_app(all_processes)})


@app.get("/price/<text>")
@error_boundary("price", retry_safe=True)
def price(text: str) -> str:
    return str(float(text))


@app.get("/stock/<text>")
@error_boundary("stock")
def stock(text: str) -> str:
    return str({"none": 0, "some": 5}[text])
