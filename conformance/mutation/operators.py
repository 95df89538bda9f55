"""What faults are made of: operators that several of them share, each as a hook."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from mutation import hooks as on
from mutation.hooks import DISCONNECT, LEAVE, Effect, FrameHook, Hooks, Payload, ServerContext, fits
from mutation.registry import Staged
from neffos_asyncio import Limits, Server
from neffos_codec import Message, encode
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import NOTHING, embedded_server
from neffos_protocol import SessionLimits
from neffos_protocol.names import CHANGE_OF

OperatorHook = Callable[[Any, Message], Effect]
"""A hook that needs no context, and so fits every peer."""


def drop(_: object, __: object) -> tuple[()]:
    """Drop a message."""
    return ()


def give(effect: Any) -> Callable[..., Any]:
    """Give the same in every case."""
    return lambda *_: effect


def silently(context: ServerContext, _: Message) -> Effect:
    """Handle a frame, and send nothing."""
    context.serve()
    return ()


def empty_reply(_: object, message: Message) -> Effect:
    """Send the empty reply instead of a frame."""
    return message.empty_reply()


def with_flags(_: object, message: Message) -> Effect:
    """Write the flags of an empty reply."""
    return f"{message.wait};;;;0;0;"


def as_text(_: object, message: Message) -> Effect:
    """Send a frame in a text message, whatever its body."""
    payload = encode(message)
    return payload if isinstance(payload, str) else payload.decode(errors="replace")


def event_as_body(_: object, message: Message) -> Effect:
    """Reply with the event, as the conformance application's handler of every event does."""
    return message.reply(message.event)


def refuse(text: str) -> OperatorHook:
    """Send an error reply instead of a frame."""
    return lambda _, message: message.error_reply(text)


def refuse_ask(text: str) -> OperatorHook:
    """Send an error reply instead of a frame with a token, and drop one without."""
    return lambda _, message: message.error_reply(text) if message.wait else ()


def change(**fields: Any) -> Callable[[Any, Any], Any]:
    """Change fields of a frame that is sent; a function is given the value of its field."""
    return lambda _, message: changed(message, fields)


def serve_with(**fields: Any) -> FrameHook:
    """Handle a frame with other fields."""
    return lambda context, message: context.serve(changed(message, fields))


def accept(context: Any, message: Message) -> Any:
    """Handle a reply as if it were the empty one."""
    return context.serve(message.empty_reply())


def aside(event: str) -> FrameHook:
    """Have the server handle a system ask about what a frame names, or the ask that it answers."""

    def hook(context: ServerContext, message: Message) -> Effect:
        named = context.ask or message
        return context.aside(event, named.namespace, named.room)

    return hook


def asides(
    event: str, due: Callable[[ServerContext], Iterable[on.Membership]]
) -> Callable[..., Any]:
    """Have the server handle a system ask about each of some namespaces and rooms."""
    return lambda context, *_: [
        sent for each in sorted(due(context)) for sent in context.aside(event, *each)
    ]


def leave_all(c: ServerContext, m: Message) -> Effect:
    """Have the client leave all rooms of the frame's namespace."""
    return [sent for room in c.rooms(m.namespace) for sent in c.aside(LEAVE, m.namespace, room)]


PRIVATE_CODES: Final = 4000
"""The first close code that only applications use (RFC 6455, 7.4.2)."""

DISCONNECT_ALL: Final = asides(DISCONNECT, lambda c: namespaces(c.memberships))
"""Disconnect all namespaces."""


def namespaces(memberships: Iterable[on.Membership]) -> list[on.Membership]:
    """Give those of namespaces; a trigger for memberships."""
    return [each for each in memberships if not each[1]]


def rooms(memberships: Iterable[on.Membership]) -> list[on.Membership]:
    """Give those of rooms; a trigger for memberships."""
    return [each for each in memberships if each[1]]


def once(hook: FrameHook, same: str = "", *, is_after: bool = True, **before: Any) -> FrameHook:
    """Do something with the frames after one that fits a trigger.

    Args:
        hook: what is done.
        same: the field that both frames have in common; empty for none.
        is_after: ``False`` for the frames before it.
        before: the trigger.
    """

    def done(context: on.PeerContext, message: Message) -> Effect:
        value = getattr(message, same, "")
        is_due = (value in context.seen) == is_after
        if fits(before, message, context):
            context.seen.add(value)
        return hook(context, message) if is_due else None

    return done


def from_number(number: int, hook: FrameHook) -> FrameHook:
    """Do something from that many times on, counted from 1."""
    return lambda context, m: hook(context, m) if context.count() >= number else None


def every(number: int, hook: FrameHook) -> FrameHook:
    """Do something at every such multiple of times."""
    return lambda context, m: hook(context, m) if context.count() % number == 0 else None


until: Final = partial(once, is_after=False)
"""Do something with the frames up to one that fits a trigger."""


def late(**trigger: Any) -> Callable[[Any, Any], Effect]:
    """Have the peer handle some messages only after the next one that is not among them."""

    def hook(context: Any, message: object) -> Effect:
        if fits(trigger, message, context):
            context.kept.append(context.payload)
            return ()
        return [sent for each in (None, *context.release()) for sent in context.serve(each)]

    return hook


def changed(message: Any, fields: Mapping[str, Any]) -> Any:
    """Change fields of a frame, of whichever layer, of a request or of an observation."""
    given = {
        name: value(on.value_of(name, [message])) if callable(value) else value
        for name, value in fields.items()
    }
    if isinstance(message, dict):
        return {**message, **given}
    return message.replace(**given) if isinstance(message, Message) else replace(message, **given)


def fail(text: str, kind: type[Exception] = ConnectionError) -> Callable[..., Any]:
    """Fail the connection, or another thing that a hook is about."""

    def failed(*_: object) -> Any:
        raise kind(text)

    return failed


def delayed(**trigger: Any) -> FrameHook:
    """Send some frames only after the next one that is not among them."""

    def hook(context: Any, message: Message) -> Effect:
        if fits(trigger, message, context):
            context.kept.append(message)
            return ()
        return [message, *context.release()]

    return hook


def rewrite(change: Callable[[str], Effect]) -> Callable[[Any, Payload], Effect]:
    """Send another payload instead of a text."""
    return lambda _, payload: change(payload) if isinstance(payload, str) else None


def rewrite_bytes(change: Callable[[bytes], Payload]) -> Callable[[Any, Payload], Effect]:
    """Send another payload instead of a binary one."""
    return lambda _, payload: change(payload) if isinstance(payload, bytes) else None


def five_separators(c: Any, payload: Any) -> Any:
    """Handle a payload of five separators as a frame with an empty body."""
    end = ";" if isinstance(payload, str) else b";"
    return c.serve(payload + end) if payload.count(end) == 5 else None


def deaf_after(*first: Payload) -> Callable[[Any, Payload], Effect]:
    """Receive nothing if the first payload is one of these."""
    return lambda c, payload: () if c.values.setdefault("first", payload) in first else None


def deaf_from(**trigger: Any) -> Callable[[Any, Any], Effect]:
    """Receive nothing from the first message on that fits a trigger."""

    def hook(context: Any, message: object) -> Effect:
        if fits(trigger, message, context):
            context.values["deaf"] = True
        return () if "deaf" in context.values else None

    return hook


def keep(context: Any, message: object) -> None:
    """Keep a frame, and leave it alone."""
    context.kept.append(message)


def remember(name: str) -> FrameHook:
    """Remember a field of the frame, and leave it alone."""
    return lambda context, message: context.seen.add(getattr(message, name))


def isnt_utf8(content: bytes) -> bool:
    """Say whether bytes are not UTF-8."""
    return not is_utf8(content)


def swap(old: Any, new: Any, count: int = -1) -> Callable[[Any], Any]:
    """Put a text, or bytes, in the place of another; a change of a field or a payload."""
    return lambda text: text.replace(old, new, count)


def is_utf8(content: bytes) -> bool:
    """Say whether bytes are UTF-8."""
    return content.decode(errors="ignore").encode() == content


def in_namespace(name: str, *, is_in: bool = True) -> Callable[[Callable[[str], bool]], bool]:
    """Test whether a namespace is connected; a trigger for ``is_in``."""
    return lambda is_connected: is_connected(name) == is_in


def is_client_token(token: str) -> bool:
    """Say whether a token is one that a client made; a test for triggers."""
    return token.startswith("$")


def is_server_token(token: str) -> bool:
    """Say whether a token is one that the server made; a test for triggers."""
    return bool(token) and not token.startswith("$")


def is_user_event(event: str) -> bool:
    """Say whether an event is neither reserved nor empty; a test for triggers."""
    return bool(event) and not event.startswith("_")


def begins(text: Any) -> Callable[[Any], bool]:
    """Test how a text, or bytes, begin; for triggers."""
    return lambda value: isinstance(value, type(text)) and value.startswith(text)


def has(text: Any) -> Callable[[Any], bool]:
    """Test that a text, bytes, or a list of them contain another; for triggers."""
    return lambda value: isinstance(value, (type(text), list)) and text in value


def isnt(*values: object) -> Callable[[object], bool]:
    """Test that a value is none of these; for triggers."""
    return lambda value: value not in values


def is_event(event: str) -> bool:
    """Say whether an event is not that of a system ask; a test for triggers."""
    return event not in CHANGE_OF


# -------------------------------------------------------------------- families of faults


def refused_while_asking(event: str, **trigger: Any) -> Hooks:
    """Refuse a client's system ask while the server has a pending one of the same event."""
    given = refuse_ask("another one is pending")
    return on.receive(
        lambda c, m: given(c, m) if c.pending(event) else None, event=event, **trigger
    )


def held_while_asking(event: str, own: str, **trigger: Any) -> FrameHook:
    """Hold system asks of the other peer back until the peer's own ask for the same is answered.

    Args:
        event: of the asks that are held back.
        own: the event of the peer's own ask.
        trigger: which asks of the other peer are held back.
    """

    def hook(c: Any, m: Message) -> Effect:
        asks = [(ask.namespace, ask.room) for ask in c.pending(own)]
        is_ask = bool(m.wait) and not c.answers
        if is_ask and (m.namespace, m.room) in asks and fits({"event": event, **trigger}, m, c):
            c.kept.append(m)
            return ()
        if c.answers != own or not c.kept:
            return None
        return [*c.serve(), *(sent for each in c.release() for sent in c.serve(each))]

    return hook


def counted(event: str, contrary: str, **trigger: Any) -> Hooks:
    """Count system asks that change nothing, and want as many of the contrary."""

    def hook(context: ServerContext, message: Message) -> Effect:
        if message.event == event:
            context.count()
        elif message.event == contrary and context.counts[""]:
            context.counts[""] -= 1
            return message.empty_reply()
        return None

    return on.receive(hook, wait=bool, is_no_op=False, is_error=False, **trigger)


def after_acceptance(event: str, done: str) -> Hooks:
    """Once the client has accepted an ask of the server, have another handled before the next.

    Args:
        event: of the server's ask.
        done: the event of the other ask, which is about the same namespace or room.
    """

    def hook(context: ServerContext) -> on.Payloads:
        due = context.release() if context.payload is not NOTHING else []
        sent = [each for ask in due for each in context.aside(done, ask.namespace, ask.room)]
        if context.message and context.message.is_empty_reply and context.answers == event:
            context.kept.append(context.ask)
        return sent + context.serve()

    return on.turn(hook)


def calling_off(
    event: str,
    *,
    by: str,
    is_off: Callable[[ServerContext, Message, Message], bool] = lambda _, __, ___: True,
) -> Hooks:
    """Have the server forget its own asks once the client asks for the contrary.

    Args:
        event: of the server's asks.
        by: the event of the client's ask.
        is_off: whether an ask of the server is forgotten, by the ask and that of the client.
    """

    def hook(context: ServerContext, message: Message) -> Effect:
        if message.wait in context.seen:
            return context.serve(Message(wait=message.wait, is_error=True, body="called off"))
        if message.event == by:
            context.seen |= {
                token
                for token, ask in context.server_asks.items()
                if ask.event == event and is_off(context, ask, message)
            }
        return None

    return on.receive(hook)


def serving(make: Callable[..., Server] = Server, **options: Any) -> on.Url:
    """Run the server with these options, in place of the usual ones, and give its URL.

    Args:
        make: makes the server.
        options: of the server.
    """
    made = servers(make=lambda handlers, **given: make(handlers, **{**given, **options}))
    return embedded_server(served=made)


def limited(session: SessionLimits | None = None, **limits: Any) -> Staged:
    """Run the server with these limits."""
    return on.run(partial(limited_server, session, **limits))


def limited_server(session: SessionLimits | None = None, **limits: Any) -> on.Url:
    """Run the server with these limits, and give its URL."""
    return serving(limits=Limits(session=session or SessionLimits(), **limits))


def received_text(change: Callable[[str], str]) -> Hooks:
    """Change texts before they are handled."""
    return on.receive_raw(
        lambda c, given: c.serve(change(given)) if isinstance(given, str) else None
    )


def sent_text(change: Callable[[str], str]) -> Hooks:
    """Change the texts that are sent."""
    return on.send_raw(rewrite(change))


def retokened(make: Callable[[str], str], peer: Callable[..., Any] = Hooks, **trigger: Any) -> Any:
    """Give asks of a peer other tokens, made of its own."""

    def sent(context: on.PeerContext, message: Message) -> Effect:
        is_server = context.role == "server"
        is_own = message.wait in context.server_asks if is_server else is_client_token(message.wait)
        if not is_own or not fits(trigger, message):
            return None
        token = make(message.wait)
        context.values[token] = message.wait
        return message.replace(wait=token)

    def answered(context: Any, message: Message) -> Any:
        token = context.values.get(message.wait)
        return context.serve(message.replace(wait=token)) if token else None

    return peer(receive=answered, send=sent)
