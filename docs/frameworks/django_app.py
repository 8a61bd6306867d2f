"""Django, in one file. Run: DJANGO_SETTINGS_MODULE=django_app opentelemetry-instrument python django_app.py 8000"""

import sys

from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from prices import read_price, read_stock

SECRET_KEY, ROOT_URLCONF, ALLOWED_HOSTS, DEBUG = "example", "django_app", ["127.0.0.1"], False


def price(request: HttpRequest, text: str) -> HttpResponse:
    return HttpResponse(str(read_price(text)))


def stock(request: HttpRequest, text: str) -> HttpResponse:
    return HttpResponse(str(read_stock(text)))


urlpatterns = [path("price/<text>", price), path("stock/<text>", stock)]

if __name__ == "__main__":
    from wsgiref.simple_server import make_server

    import django

    django.setup()
    make_server("127.0.0.1", int(sys.argv[1]), WSGIHandler()).serve_forever()
