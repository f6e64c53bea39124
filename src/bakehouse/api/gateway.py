"""From a request to a reply: one ordered list of steps.

Invariant: this is the only place that opens and commits a request's transaction and that turns errors into
replies. A client sees an ApiError as it was raised; anything else is a bug, answered as InternalError with
the request id, under which the log has the traceback. Parameters are never logged.
"""

import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from bakehouse import errors
from bakehouse.api import client_tokens
from bakehouse.api.client_tokens import ClientTokens, TokenKey
from bakehouse.api.context import RequestContext
from bakehouse.api.models import operation_names, service_model
from bakehouse.api.pagination import Pages
from bakehouse.api.protocol.ec2_query import Ec2Query
from bakehouse.api.protocol.form import MAX_BODY_BYTES, parse_pairs
from bakehouse.api.protocol.query import Query
from bakehouse.api.registry import Operation, Registry
from bakehouse.api.sigv4 import Claim, Credentials, HttpRequest, Secret, Verifier, read_claim
from bakehouse.api.validation import Validator
from bakehouse.database.errors import DatabaseFull
from bakehouse.errors import ApiError

_log = logging.getLogger("bakehouse.requests")

_SIGNATURE_PARAMETERS = frozenset(
    f"X-Amz-{name}"
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature", "Security-Token")
)


class Transaction(Protocol):
    """Opens one transaction: committed on leaving the block, rolled back on an error."""

    def __call__(self, *, mutates: bool, region: str) -> AbstractContextManager[Session]:
        """Open it in a region; one that mutates may wait for another to end."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What goes back to the client."""

    status: int
    body: bytes
    content_type: str
    request_id: str


_NOBODY = Secret(access_key_id="-", secret_access_key="", account_id="-", principal_arn="-")


@dataclass(kw_only=True)
class Call:
    """One request on its way through the steps; each step fills in what the next ones read."""

    http: HttpRequest
    request_id: str
    pairs: dict[str, str] = field(default_factory=dict)
    claim: Claim | None = None
    service: str = "ec2"
    action: str = "-"
    secret: Secret = _NOBODY
    region: str = "-"
    operation: Operation = field(init=False)
    parameters: dict[str, Any] = field(default_factory=dict)
    is_dry_run: bool = False
    session: Session = field(init=False)
    reply: dict[str, Any] = field(init=False)
    is_replayed: bool = False
    body: bytes = b""


class Gateway:
    """Answers requests, one call of ``answer`` each, from any number of threads.

    ``regions`` are served, the first one is the home of what is signed for none of them. ``host`` is handed to the
    operations untouched. ``page_key`` authenticates page tokens and must outlive
    restarts. Raises ValueError when an operation declares a path its model does not have.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        regions: Sequence[str],
        credentials: Credentials,
        transaction: Transaction,
        tokens: ClientTokens,
        page_key: bytes,
        host: Any,
    ) -> None:
        self._registry = registry
        self._regions = tuple(regions)
        self._verifier = Verifier(credentials=credentials, regions=self._regions)
        self._transaction = transaction
        self._tokens = tokens
        self._pages = Pages(page_key)
        self._host = host
        self._codecs: dict[str, Ec2Query | Query] = {"ec2": Ec2Query("ec2"), "sts": Query("sts")}
        self._services_by_version = {service_model(name).metadata["apiVersion"]: name for name in self._codecs}
        self._validators = {
            (each.service, each.name): Validator(each, self._codecs[each.service].wire_name) for each in registry
        }
        # What happens to a request, in this order; each step may end it by raising an ApiError.
        self._steps: tuple[Callable[[Call], None], ...] = (
            self._read_form,
            self._route,
            self._verify_signature,
            self._find_operation,
            self._parse,
            self._validate,
            self._authorize,
            self._run_in_transaction,
        )
        # What happens inside the transaction, which is committed when the last of these is done.
        self._steps_in_transaction: tuple[Callable[[Call], None], ...] = (
            self._replay_client_token,
            self._dispatch,
            self._remember_client_token,
            self._apply_filters,
            self._cut_page,
            self._end_dry_run,
            self._serialize,
        )

    def answer(self, request: HttpRequest) -> Reply:
        """Answer one request; never raises."""
        started = time.perf_counter()
        call = Call(http=request, request_id=str(uuid.uuid4()))
        try:
            for step in self._steps:
                step(call)
            reply, code = self._make_reply(call, 200, call.body), "-"
        except ApiError as error:
            reply, code = self._make_error_reply(call, error), error.code
        except DatabaseFull:
            full = errors.service_unavailable("The disk of this host is full; nothing was done.")
            reply, code = self._make_error_reply(call, full), full.code
        except Exception as error:  # whatever it is, the client gets an answer and the log the rest
            self._log_bug(call, error)
            reply, code = self._make_error_reply(call, errors.internal_error()), "InternalError"
        self._log_request(call, reply, code, (time.perf_counter() - started) * 1000)
        return reply

    def refuse(self, error: ApiError) -> Reply:
        """Answer a request that could not even be read."""
        call = Call(http=_NO_REQUEST, request_id=str(uuid.uuid4()))
        reply = self._make_error_reply(call, error)
        self._log_request(call, reply, error.code, 0)
        return reply

    # --- the steps ---

    def _read_form(self, call: Call) -> None:
        if len(call.http.body) > MAX_BODY_BYTES:
            raise errors.request_entity_too_large(MAX_BODY_BYTES)
        # Pairs of the query and of the body are one set, so a name in both is refused.
        parts = [part for part in (call.http.query, call.http.body) if part]
        call.pairs = parse_pairs(b"&".join(parts))

    def _route(self, call: Call) -> None:
        version = call.pairs.get("Version", "")
        call.service = self._services_by_version.get(version, "ec2")
        call.claim = read_claim(call.http)
        if call.claim is not None and call.claim.service in self._codecs:
            call.service = call.claim.service

    def _verify_signature(self, call: Call) -> None:
        call.secret = self._verifier.verify(call.http, call.claim, call.service)
        assert call.claim is not None, "an unsigned request is refused"
        # Services without regions are signed for us-east-1 wherever they are.
        call.region = call.claim.region if call.claim.region in self._regions else self._regions[0]

    def _find_operation(self, call: Call) -> None:
        action = call.pairs.get("Action", "")
        if not action:
            raise errors.missing_action()
        if action not in operation_names(call.service):
            raise errors.invalid_action(action[:100], call.pairs.get("Version", "")[:20])
        call.action = action
        operation = self._registry.find(call.service, action)
        if operation is None:
            raise errors.unsupported_operation(f"The operation {action} is not supported by this service")
        call.operation = operation

    def _parse(self, call: Call) -> None:
        pairs = {
            name: value
            for name, value in call.pairs.items()
            if name not in ("Action", "Version") and name not in _SIGNATURE_PARAMETERS
        }
        call.parameters = self._codecs[call.service].parse(call.action, pairs)

    def _validate(self, call: Call) -> None:
        call.parameters = self._validators[call.service, call.action].validate(call.parameters)
        call.is_dry_run = call.parameters.pop("DryRun", False)

    def _authorize(self, call: Call) -> None:
        """Every key is its account's administrator; policies will be asked here."""

    def _run_in_transaction(self, call: Call) -> None:
        with self._transaction(mutates=call.operation.mutates, region=call.region) as session:
            call.session = session
            for step in self._steps_in_transaction:
                step(call)

    def _replay_client_token(self, call: Call) -> None:
        key = self._token_key(call)
        if key is None:
            return
        remembered = self._tokens.find(call.session, key)
        if remembered is not None:
            call.reply = client_tokens.replay(remembered, call.parameters)
            call.is_replayed = True

    def _dispatch(self, call: Call) -> None:
        if call.is_replayed:
            return
        context = RequestContext(
            request_id=call.request_id,
            account_id=call.secret.account_id,
            region=call.region,
            access_key_id=call.secret.access_key_id,
            principal_arn=call.secret.principal_arn,
            session=call.session,
            host=self._host,
        )
        call.reply = call.operation(context, call.parameters)

    def _remember_client_token(self, call: Call) -> None:
        key = self._token_key(call)
        if key is None or call.is_replayed:
            return
        self._tokens.remember(call.session, key, client_tokens.make_remembered(call.parameters, call.reply))

    def _apply_filters(self, call: Call) -> None:
        if call.operation.filters is not None:
            call.operation.filters.apply(call.parameters.get("Filters", ()), call.reply)

    def _cut_page(self, call: Call) -> None:
        if call.operation.paged is not None:
            scope = (call.secret.account_id, call.region, call.service, call.action)
            self._pages.cut(call.operation.paged, scope, call.parameters, call.reply)

    def _end_dry_run(self, call: Call) -> None:
        """Only now is it true that the request would have succeeded; nothing of it is kept."""
        if call.is_dry_run:
            raise errors.dry_run_operation()

    def _serialize(self, call: Call) -> None:
        call.body = self._codecs[call.service].serialize(call.action, call.reply, call.request_id)

    # --- what the steps share ---

    def _token_key(self, call: Call) -> TokenKey | None:
        token = client_tokens.read_token(call.parameters) if call.operation.mutates else None
        if token is None:
            return None
        return TokenKey(account_id=call.secret.account_id, region=call.region, operation=call.action, token=token)

    def _make_reply(self, call: Call, status: int, body: bytes) -> Reply:
        content_type = self._codecs[call.service].content_type
        return Reply(status=status, body=body, content_type=content_type, request_id=call.request_id)

    def _make_error_reply(self, call: Call, error: ApiError) -> Reply:
        body = self._codecs[call.service].serialize_error(error, call.request_id)
        return self._make_reply(call, error.status, body)

    def _log_bug(self, call: Call, error: Exception) -> None:
        _hide_parameters(error)
        _log.error("%s %s failed, request_id=%s", call.service, call.action, call.request_id, exc_info=error)

    def _log_request(self, call: Call, reply: Reply, code: str, milliseconds: float) -> None:
        facts: Mapping[str, object] = {
            "service": call.service,
            "action": call.action,
            "status": reply.status,
            "code": code,
            "account": call.secret.account_id,
            "key": call.secret.access_key_id,
            "ms": round(milliseconds, 1),
            "request_id": call.request_id,
        }
        _log.info(" ".join(f"{name}={value}" for name, value in facts.items()), extra={"request": facts})


_NO_REQUEST = HttpRequest(method="-", raw_path=b"", query=b"", headers=(), body=b"")


def _hide_parameters(error: BaseException | None) -> None:
    """Statements' parameters can be secrets (keys, user data): SQLAlchemy must not print them."""
    while error is not None:
        if isinstance(error, StatementError):
            error.hide_parameters = True
        error = error.__cause__ or error.__context__
