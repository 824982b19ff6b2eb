"""The answers: Django REST framework with the error bodies of drf-exceptions-hog, as PostHog makes them."""

import django
from django.conf import settings

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="loopback",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[],
        USE_TZ=True,
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        REST_FRAMEWORK={
            "EXCEPTION_HANDLER": "exceptions_hog.exception_handler",
            "DEFAULT_AUTHENTICATION_CLASSES": [],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "UNAUTHENTICATED_USER": None,
        },
        EXCEPTIONS_HOG={},
        LOGGING_CONFIG=None,
    )
    django.setup()

from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, HttpResponseRedirect
from django.urls import re_path
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.posthog_server.model import RefusedError
from tests.posthog_server.warehouse import AsText


class Conflict(exceptions.APIException):
    status_code, default_code = 409, "conflict"


def as_exception(refused):
    """The exception that PostHog raises for it."""
    if refused.status == 400:
        detail = exceptions.ErrorDetail(refused.detail, code=refused.code)
        return exceptions.ValidationError({refused.attr: [detail]} if refused.attr else detail)
    if refused.status == 429:
        wait = refused.headers.get("Retry-After")
        return exceptions.Throttled(wait=None if wait is None else float(wait), detail=refused.detail or None)
    plain = {
        401: exceptions.AuthenticationFailed, 403: exceptions.PermissionDenied, 404: exceptions.NotFound,
        409: Conflict,
    }  # fmt: skip
    if refused.status in plain:
        return plain[refused.status](refused.detail)
    if refused.status == 405:
        return exceptions.MethodNotAllowed("DELETE")
    made = exceptions.APIException(refused.detail, code=refused.code)
    made.status_code = refused.status
    return made


class Everything(APIView):
    """Every address of the project."""

    def get_authenticate_header(self, request):
        return "Bearer"

    def initial(self, request, *arguments, **named):
        self.server = request.META["loopback.server"]

    def _answer(self, request, rest):
        server = self.server
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        query = {key: request.GET[key] for key in request.GET}
        try:
            content = server.call(request.method, rest, query, request.data or None, token)
        except RefusedError as refused:
            if refused.body is not None:
                return Response(refused.body, refused.status)
            raise as_exception(refused) from None
        if isinstance(content, Redirect):
            return HttpResponseRedirect(content.where)
        if isinstance(content, AsText):
            return HttpResponse(content, content_type="application/json")
        return Response(_with_host(content, server.url))

    def get(self, request, rest):
        return self._answer(request, rest)

    post = patch = delete = get


class Redirect:
    def __init__(self, where):
        self.where = where


def _with_host(content, url):
    if isinstance(content, dict) and isinstance(content.get("next"), str):
        return {**content, "next": content["next"].replace("{host}", url)}
    return content


def definitions(request):
    """What the SDKs evaluate by; a project token or a key, no scopes."""
    import json

    server = request.META["loopback.server"]
    return HttpResponse(json.dumps(server.definitions()), content_type="application/json")


def captured(request):
    request.META["loopback.server"].captured.append(request.body)
    return HttpResponse('{"status": "Ok"}', content_type="application/json")


urlpatterns = [
    re_path(r"^api/projects/(?P<rest>.*)$", Everything.as_view()),
    re_path(r"^(?:flags/definitions|api/feature_flag/local_evaluation)", definitions),
    re_path(r"^(?:batch|i/v0/e|capture|e)/?$", captured),
]
application = get_wsgi_application()
