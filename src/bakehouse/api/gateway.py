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
from bakehouse.api import authorization, client_tokens
from bakehouse.api.client_tokens import ClientTokens, TokenKey
from bakehouse.api.context import RequestContext
from bakehouse.api.http_request import HttpRequest
from bakehouse.api.models import operation_names, service_model
from bakehouse.api.pagination import Pages
from bakehouse.api.protocol.form import MAX_BODY_BYTES
from bakehouse.api.protocol.interface import Reply
from bakehouse.api.registry import Operation, Registry
from bakehouse.api.services import Services
from bakehouse.api.sigv4 import Claim, Credentials, Secret, Verifier, read_claim
from bakehouse.api.targets import Asked
from bakehouse.api.validation import Validator
from bakehouse.database.errors import DatabaseFull
from bakehouse.domain.iam.authority import Authority
from bakehouse.domain.iam.principals import NOBODY
from bakehouse.errors import ApiError

_log = logging.getLogger("bakehouse.requests")


class Transaction(Protocol):
    """Opens one transaction: committed on leaving the block, rolled back on an error."""

    def __call__(self, *, mutates: bool, region: str) -> AbstractContextManager[Session]:
        """Open it in a region; one that mutates may wait for another to end."""
        ...


_NOBODY = Secret(access_key_id="-", secret_access_key="", principal=NOBODY)


@dataclass(kw_only=True)
class Call:
    """One request on its way through the steps; each step fills in what the next ones read."""

    http: HttpRequest
    request_id: str
    claim: Claim | None = None
    service: str = "ec2"
    action: str = "-"
    secret: Secret = _NOBODY
    region: str = "-"
    operation: Operation = field(init=False)
    # The parameters as the protocol's read_action left them.
    unread: Any = None
    parameters: dict[str, Any] = field(default_factory=dict)
    is_dry_run: bool = False
    session: Session = field(init=False)
    authority: Authority = field(init=False)
    reply: dict[str, Any] = field(init=False)
    is_replayed: bool = False
    answer: Reply = field(init=False)


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
        self._services = Services()
        self._validators = {
            (each.service, each.name): Validator(each, self._services.codec(each.service)) for each in registry
        }
        # What happens to a request, in this order; each step may end it by raising an ApiError.
        self._steps: tuple[Callable[[Call], None], ...] = (
            self._check_size,
            self._find_service,
            self._verify_signature,
            self._find_operation,
            self._parse,
            self._validate,
            self._run_in_transaction,
        )
        # What happens inside the transaction, which is committed when the last of these is done.
        self._steps_in_transaction: tuple[Callable[[Call], None], ...] = (
            self._authorize,
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
            reply, code = call.answer, "-"
        except ApiError as error:
            reply, code = self._make_error_reply(call, error)
        except DatabaseFull:
            full = errors.service_unavailable("The disk of this host is full; nothing was done.")
            reply, code = self._make_error_reply(call, full)
        except Exception as error:  # whatever it is, the client gets an answer and the log the rest
            self._log_bug(call, error)
            reply, code = self._make_error_reply(call, errors.internal_error())
        self._log_request(call, reply, code, (time.perf_counter() - started) * 1000)
        return reply

    def refuse(self, error: ApiError, head: HttpRequest) -> Reply:
        """Answer a request of which only the head could be read."""
        call = Call(http=head, request_id=str(uuid.uuid4()))
        call.service = self._services.find(head, None)
        reply, code = self._make_error_reply(call, error)
        self._log_request(call, reply, code, 0)
        return reply

    # --- the steps ---

    def _check_size(self, call: Call) -> None:
        if len(call.http.body) > MAX_BODY_BYTES:
            raise errors.request_entity_too_large(MAX_BODY_BYTES)

    def _find_service(self, call: Call) -> None:
        try:
            call.claim = read_claim(call.http)
        except ApiError:
            call.service = self._services.find(call.http, None)
            raise
        call.service = self._services.find(call.http, call.claim)
        if call.claim is None and not self._services.has_path(call.http):
            raise errors.unknown_route()

    def _verify_signature(self, call: Call) -> None:
        call.secret = self._verifier.verify(call.http, call.claim, call.service)
        assert call.claim is not None, "an unsigned request is refused"
        # Services without regions are signed for us-east-1 wherever they are.
        call.region = call.claim.region if call.claim.region in self._regions else self._regions[0]

    def _find_operation(self, call: Call) -> None:
        action, call.unread = self._services.codec(call.service).read_action(call.http)
        if action not in operation_names(call.service):
            raise errors.invalid_action(action[:100], service_model(call.service).metadata["apiVersion"])
        call.action = action
        operation = self._registry.find(call.service, action)
        if operation is None:
            raise errors.unsupported_operation(f"The operation {action} is not supported by this service")
        call.operation = operation

    def _parse(self, call: Call) -> None:
        call.parameters = self._services.codec(call.service).parse(call.action, call.unread)

    def _validate(self, call: Call) -> None:
        call.parameters = self._validators[call.service, call.action].validate(call.parameters)
        call.is_dry_run = call.parameters.pop(call.operation.names.dry_run, False)

    def _run_in_transaction(self, call: Call) -> None:
        with self._transaction(mutates=call.operation.mutates, region=call.region) as session:
            call.session = session
            for step in self._steps_in_transaction:
                step(call)

    def _authorize(self, call: Call) -> None:
        call.authority = authorization.make_authority(
            call.secret.principal, call.session, service=call.service, region=call.region, request=call.http
        )
        asked = Asked(
            service=call.service,
            action=call.action,
            parameters=call.parameters,
            principal=call.secret.principal,
            region=call.region,
            session=call.session,
        )
        authorization.authorize(call.authority, asked)

    def _replay_client_token(self, call: Call) -> None:
        key = self._token_key(call)
        if key is None:
            return
        remembered = self._tokens.find(call.session, key)
        reply = client_tokens.replay(remembered, self._digest(call)) if remembered is not None else None
        if reply is not None:
            call.reply = reply
            call.is_replayed = True

    def _dispatch(self, call: Call) -> None:
        if call.is_replayed:
            return
        context = RequestContext(
            request_id=call.request_id,
            account_id=call.secret.account_id,
            region=call.region,
            access_key_id=call.secret.access_key_id,
            authority=call.authority,
            session=call.session,
            host=self._host,
        )
        call.reply = call.operation(context, call.parameters)

    def _remember_client_token(self, call: Call) -> None:
        key = self._token_key(call)
        if key is None or call.is_replayed:
            return
        self._tokens.remember(call.session, key, client_tokens.make_remembered(self._digest(call), call.reply))

    def _apply_filters(self, call: Call) -> None:
        if call.operation.filters is not None:
            call.operation.filters.apply(call.parameters.get("Filters", ()), call.reply)

    def _cut_page(self, call: Call) -> None:
        if call.operation.paged is not None:
            scope = (call.secret.account_id, call.region, call.service, call.action)
            self._pages.cut(call.operation.paged, scope, call.parameters, call.reply, call.operation.names)

    def _end_dry_run(self, call: Call) -> None:
        """Only now is it true that the request would have succeeded; nothing of it is kept."""
        if call.is_dry_run:
            raise errors.dry_run_operation()

    def _serialize(self, call: Call) -> None:
        call.answer = self._services.codec(call.service).serialize(call.action, call.reply, call.request_id)

    # --- what the steps share ---

    def _token_key(self, call: Call) -> TokenKey | None:
        name = call.operation.names.client_token
        token = client_tokens.read_token(call.parameters, name) if call.operation.mutates else None
        if token is None:
            return None
        # Services share names of operations: EC2 and Image Builder both have a CreateImage.
        operation = f"{call.service}.{call.action}"
        return TokenKey(account_id=call.secret.account_id, region=call.region, operation=operation, token=token)

    def _digest(self, call: Call) -> str:
        return client_tokens.digest_request(call.parameters, call.operation.names.client_token, call.secret.principal)

    def _make_error_reply(self, call: Call, error: ApiError) -> tuple[Reply, str]:
        codec = self._services.codec(call.service)
        translated = codec.translate(error)
        return codec.serialize_error(translated, call.request_id), translated.code

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


def _hide_parameters(error: BaseException | None) -> None:
    """Statements' parameters can be secrets (keys, user data): SQLAlchemy must not print them."""
    while error is not None:
        if isinstance(error, StatementError):
            error.hide_parameters = True
        error = error.__cause__ or error.__context__
