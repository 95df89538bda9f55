package neffos;

import java.io.IOException;
import java.net.URI;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.function.Supplier;
import neffos.Message.NativeMode;

/**
 * A neffos client. Every method can be called from any thread, and from a handler too; none waits.
 * What a handler sends leaves before its reply (EV-11). Nothing that a server sends ends the thread
 * (SEC-16). Headers go as they are (TR-19), and no version is announced (TR-18).
 *
 * <p>A result that fails has one of these causes: {@link Refused}, a {@code TimeoutException}
 * (AR-15), an {@code IllegalStateException} for what is not possible now, a {@link CodecException}
 * for what cannot be written, or an {@code IOException} of the connection.
 */
public final class Client {
    /** The first and the longest delay before a try to reconnect, in milliseconds. */
    private static final long FIRST_DELAY = 50;

    private static final long LONGEST_DELAY = 10_000;

    /** How long a server may take to answer a close frame (TR-12), in milliseconds. */
    private static final long CLOSE_TIMEOUT = 5_000;

    /** Random bytes of a token: nobody can guess 128 bits (AR-6). */
    private static final int TOKEN_BYTES = 16;

    private static final SecureRandom RANDOM = new SecureRandom();

    /**
     * How to connect.
     *
     * @param url the server's endpoint: {@code ws://…} or {@code wss://…}
     * @param headers of the upgrade request
     * @param namespaces those that the application handles; the server can connect no others (NS-3)
     * @param nativeMode what becomes of payloads that are not frames
     * @param reconnects whether a lost connection is opened again
     * @param timeout how long opening a connection, and an ask without a time of its own, may take
     */
    public record Options(
            URI url,
            Map<String, String> headers,
            Set<String> namespaces,
            NativeMode nativeMode,
            boolean reconnects,
            Duration timeout) {}

    /** What waits for the reply to an ask: the change that it asks for, or none. */
    private record Waiting(Event.Changed change, CompletableFuture<Payload> result) {}

    private final Options options;
    private final Application application;

    /** The one thread that touches what follows; it ends when it has been idle. */
    private final ScheduledThreadPoolExecutor loop;

    private volatile Thread thread;
    private volatile Session session;
    private Connection connection;
    private final CompletableFuture<Client> opened = new CompletableFuture<>();
    private final CompletableFuture<Void> closed = new CompletableFuture<>();
    private final Map<String, Waiting> waiting = new HashMap<>();
    private final Queue<Event> undelivered = new ArrayDeque<>();
    private boolean isDelivering;
    private boolean mayReconnect;
    private int tries;
    private long delay = FIRST_DELAY;

    /** The rooms of each namespace: of this connection, and those to restore (TR-11). */
    private final Map<String, Set<String>> connected = new LinkedHashMap<>();

    private final Map<String, Set<String>> lost = new LinkedHashMap<>();

    private Client(Options options, Application application) {
        this.options = options;
        this.application = application;
        mayReconnect = options.reconnects;
        loop = new ScheduledThreadPoolExecutor(1, work -> {
            thread = new Thread(work, "neffos-client");
            thread.setDaemon(true);
            return thread;
        });
        loop.setKeepAliveTime(1, TimeUnit.SECONDS);
        loop.allowCoreThreadTimeOut(true);
        loop.setRemoveOnCancelPolicy(true);
    }

    /** Opens a connection and completes the handshake. */
    public static CompletableFuture<Client> dial(Options options, Application application) {
        Client client = new Client(options, application);
        client.loop.execute(client::open);
        return client.opened;
    }

    // ---- What an application calls ----

    /** The connection's ID, which the server chose. */
    public String id() {
        return session.id();
    }

    public CompletableFuture<Void> connect(String namespace) {
        return change(Change.CONNECT, namespace, "", options.timeout);
    }

    public CompletableFuture<Void> disconnect(String namespace) {
        return change(Change.DISCONNECT, namespace, "", options.timeout);
    }

    public CompletableFuture<Void> join(String namespace, String room) {
        return change(Change.JOIN, namespace, room, options.timeout);
    }

    public CompletableFuture<Void> leave(String namespace, String room) {
        return change(Change.LEAVE, namespace, room, options.timeout);
    }

    /** Asks for a change of membership, in a time of its own. */
    public CompletableFuture<Void> change(
            Change change, String namespace, String room, Duration timeout) {
        return call(() -> {
            String token = session.ask(change, namespace, room, deadline(timeout));
            Event.Changed wanted = new Event.Changed(change, namespace, room, Event.Cause.LOCAL);
            return await(token, wanted, timeout);
        }).thenAccept(reply -> { });
    }

    /** Leaves all rooms of a namespace, with one ask for each (RM-8). */
    public CompletableFuture<Void> leaveAll(String namespace, Duration timeout) {
        return call(() -> CompletableFuture.allOf(session.rooms(namespace).stream()
                .map(room -> change(Change.LEAVE, namespace, room, timeout))
                .toArray(CompletableFuture<?>[]::new)));
    }

    /** Sends an event that expects no reply; completes when it is sent. The room may be empty. */
    public CompletableFuture<Void> emit(String namespace, String room, String event, Payload body) {
        return call(() -> {
            session.emit(namespace, room, event, body);
            flush();
            return connection.sent();
        });
    }

    /** Sends an event; gives the body of the reply. */
    public CompletableFuture<Payload> ask(
            String namespace, String room, String event, Payload body, Duration timeout) {
        return call(() -> await(
                session.ask(namespace, room, event, body, deadline(timeout)), null, timeout));
    }

    /** Sends a native message, to a server that accepts them (NM-1). */
    public CompletableFuture<Void> sendNative(Payload message) {
        return call(() -> {
            session.sendNative(message);
            flush();
            return connection.sent();
        });
    }

    /** Ends the connection (TR-12). */
    public CompletableFuture<Void> close() {
        return call(() -> {
            mayReconnect = false;
            if (!session.isClosed()) {
                session.close();
            }
            return closed;
        });
    }

    // ---- The thread ----

    /** Runs a command on the thread, and sends and reports what comes of it. */
    private <T> CompletableFuture<T> call(Supplier<CompletableFuture<T>> command) {
        if (Thread.currentThread() != thread) {
            return CompletableFuture.supplyAsync(() -> call(command), loop)
                    .thenCompose(done -> done);
        }
        try {
            return command.get();
        } catch (IllegalStateException | CodecException error) {
            return CompletableFuture.failedFuture(error);
        } finally {
            flush();
        }
    }

    private CompletableFuture<Payload> await(String token, Event.Changed change, Duration timeout) {
        CompletableFuture<Payload> result = new CompletableFuture<>();
        waiting.put(token, new Waiting(change, result));
        Session asking = session;
        ScheduledFuture<?> timer = loop.schedule(() -> {
            asking.expire(now());
            flush();
        }, timeout.toNanos(), TimeUnit.NANOSECONDS);
        return result.whenComplete((body, error) -> timer.cancel(false));
    }

    private static double now() {
        return System.nanoTime() / 1e9;
    }

    private static double deadline(Duration timeout) {
        return now() + timeout.toNanos() / 1e9;
    }

    private static String newToken() {
        byte[] bytes = new byte[TOKEN_BYTES];
        RANDOM.nextBytes(bytes);
        return Wait.CLIENT_PREFIX + HexFormat.of().formatHex(bytes); // AR-2, AR-5
    }

    /** Sends what the session has to send, and delivers its events in their order. */
    private void flush() {
        session.outgoing().forEach(connection::send);
        undelivered.addAll(session.events());
        if (isDelivering) {
            return; // the call that delivers goes on with them
        }
        isDelivering = true;
        try {
            for (Event event = undelivered.poll(); event != null; event = undelivered.poll()) {
                deliver(event);
                session.outgoing().forEach(connection::send);
                undelivered.addAll(session.events());
            }
        } finally {
            isDelivering = false;
        }
    }

    // ---- The connection ----

    private void open() {
        Map<String, String> headers = new LinkedHashMap<>(options.headers);
        if (tries > 0) {
            headers.put("X-Websocket-Reconnect", String.valueOf(tries)); // TR-9
        }
        Session fresh = new Session(new Session.Settings(
                Session.Role.CLIENT,
                Client::newToken,
                "",
                options.namespaces,
                EnumSet.of(Change.CONNECT, Change.JOIN),
                false,
                options.nativeMode,
                SessionLimits.USUAL));
        CompletableFuture<Connection> opening;
        try {
            opening = Connection.open(
                    options.url, headers, options.timeout, loop, this::receive, this::ended);
        } catch (IllegalArgumentException error) { // a URL or a header that cannot be
            opened.completeExceptionally(error);
            return;
        }
        opening.whenCompleteAsync((made, error) -> {
            if (error != null) {
                opened.completeExceptionally(cause(error));
                retry();
                return;
            }
            if (tries > 0 && !mayReconnect) {
                made.abort(); // closed by the caller meanwhile
                return;
            }
            session = fresh;
            connection = made;
            if (options.nativeMode != NativeMode.ONLY) {
                session.start(); // HS-1, HS-5; and nothing else before the answer: HS-11
            }
            loop.schedule(() -> giveUp(fresh), options.timeout.toNanos(), TimeUnit.NANOSECONDS);
            flush();
        }, loop);
    }

    /** The time for the handshake is over. */
    private void giveUp(Session slow) {
        if (!slow.isOpen() && !slow.isClosed()) {
            opened.completeExceptionally(new TimeoutException("no answer to the handshake"));
            connection.abort();
        }
    }

    private void receive(Payload payload) {
        session.receive(payload);
        flush();
    }

    private void ended() {
        session.ended();
        flush();
        opened.completeExceptionally(new IOException("the connection has ended"));
        connected.forEach((namespace, rooms) ->
                lost.computeIfAbsent(namespace, name -> new LinkedHashSet<>()).addAll(rooms));
        connected.clear();
        retry();
    }

    /** Opens a lost connection again, unless the caller or the server ended it for good. */
    private void retry() {
        if (!mayReconnect || opened.isCompletedExceptionally()) {
            if (!closed.isDone() && !opened.isCompletedExceptionally()) {
                application.onClose();
            }
            closed.complete(null);
            return;
        }
        loop.schedule(this::probe, delay, TimeUnit.MILLISECONDS);
        delay = Math.min(LONGEST_DELAY, 2 * delay);
    }

    private void probe() {
        Connection.probe(options.url, options.timeout).whenCompleteAsync((response, error) -> {
            if (error != null || !mayReconnect) {
                retry(); // TR-5; or closed by the caller meanwhile
            } else {
                tries++;
                open();
            }
        }, loop);
    }

    // ---- What the session reports ----

    private void deliver(Event event) {
        if (event instanceof Event.Opened) {
            if (!opened.complete(this)) {
                tries = 0;
                delay = FIRST_DELAY;
                application.onReconnect(session.id());
                List.copyOf(lost.keySet()).forEach(this::connect);
            }
        } else if (event instanceof Event.HandshakeRefused refused) {
            mayReconnect = false; // HS-16
            opened.completeExceptionally(new Refused(refused.text()));
        } else if (event instanceof Event.ChangeAsked asked) {
            decide(asked);
        } else if (event instanceof Event.Changed changed) {
            changed(changed);
        } else if (event instanceof Event.ChangeRefused refused) {
            if (refused.change() == Change.CONNECT) {
                lost.remove(refused.namespace());
            }
            finish(refused.token(), null, new Refused(refused.text()));
        } else if (event instanceof Event.Replied replied) {
            Payload body = replied.frame().body();
            boolean isError = replied.frame().isError();
            finish(replied.token(), body, isError ? new Refused(body.text()) : null);
        } else if (event instanceof Event.AskExpired expired) {
            finish(expired.token(), null, new TimeoutException("no reply in time"));
        } else if (event instanceof Event.AskCancelled cancelled) {
            forget(waiting.get(cancelled.token()));
            finish(cancelled.token(), null, new IOException("write closed")); // AR-14
        } else if (event instanceof Event.Asked asked) {
            Session asking = session;
            answer(
                    handle(asked.frame()),
                    body -> asking.reply(asked, body),
                    text -> asking.replyError(asked, text),
                    () -> asking.ignore(asked));
        } else if (event instanceof Event.Received received) {
            Session asking = session;
            Frame frame = received.frame();
            answer( // AR-10
                    handle(frame),
                    body -> asking.emit(
                            frame.namespace(),
                            frame.room(),
                            frame.event(),
                            frame.reply(body).body()),
                    text -> asking.emitError(
                            frame.namespace(),
                            frame.room(),
                            frame.event(),
                            frame.errorReply(text).body()),
                    () -> { });
        } else if (event instanceof Event.NativeReceived received
                && received.namespace().isEmpty()) {
            Session asking = session;
            boolean isBinary = received.payload().isBinary();
            answer( // NM-7
                    application.onNative(this, received.payload()),
                    body -> asking.sendNative(new Payload(body.bytes(), isBinary)),
                    text -> { }, // a native message cannot say that it is an error
                    () -> { });
        } else if (event instanceof Event.Closed) {
            connection.close();
            Connection closing = connection;
            loop.schedule(closing::abort, CLOSE_TIMEOUT, TimeUnit.MILLISECONDS);
        }
    }

    private void decide(Event.ChangeAsked asked) {
        String refusal = application.refuse(asked.change(), asked.namespace(), asked.room());
        if (refusal == null) {
            session.allow(asked);
        } else {
            session.deny(asked, refusal);
        }
    }

    private void changed(Event.Changed changed) {
        String namespace = changed.namespace();
        boolean isLost = session.isClosed(); // then it is restored
        switch (changed.change()) {
            case CONNECT -> {
                connected.put(namespace, new LinkedHashSet<>());
                Set<String> rooms = lost.remove(namespace);
                if (rooms != null) {
                    rooms.forEach(room -> join(namespace, room)); // TR-11
                }
            }
            case JOIN -> connected.get(namespace).add(changed.room());
            case LEAVE -> {
                if (!isLost) {
                    connected.get(namespace).remove(changed.room());
                }
            }
            case DISCONNECT -> {
                if (!isLost) {
                    connected.remove(namespace);
                }
            }
        }
        application.onChange(changed.change(), namespace, changed.room());
        for (Map.Entry<String, Waiting> each : Map.copyOf(waiting).entrySet()) {
            Event.Changed wanted = each.getValue().change;
            boolean isIt = wanted != null
                    && wanted.change() == changed.change()
                    && wanted.namespace().equals(namespace)
                    && wanted.room().equals(changed.room());
            if (isIt) {
                finish(each.getKey(), null, null);
            }
        }
    }

    /** What the application was leaving when the connection was lost is not restored. */
    private void forget(Waiting cancelled) {
        if (cancelled != null && cancelled.change != null) {
            Event.Changed wanted = cancelled.change;
            if (wanted.change() == Change.DISCONNECT) {
                connected.remove(wanted.namespace());
            } else if (wanted.change() == Change.LEAVE) {
                connected.getOrDefault(wanted.namespace(), new LinkedHashSet<>())
                        .remove(wanted.room());
            }
        }
    }

    private void finish(String token, Payload body, Exception error) {
        Waiting ended = waiting.remove(token);
        if (ended != null && error == null) {
            ended.result.complete(body);
        } else if (ended != null) {
            ended.result.completeExceptionally(error);
        }
    }

    // ---- What handlers answer ----

    /** Gives an event to its handler, unless it is for a room that was not joined (RM-9). */
    private CompletionStage<Payload> handle(Frame frame) {
        if (!session.isMember(frame.namespace(), frame.room())) {
            return null;
        }
        try {
            return callHandler(frame);
        } catch (RuntimeException error) { // an error of the handler as any other
            return CompletableFuture.failedFuture(error);
        }
    }

    private CompletionStage<Payload> callHandler(Frame frame) {
        boolean isNative = options.nativeMode == NativeMode.FALLBACK
                && frame.event().equals(Session.NATIVE_EVENT);
        if (!isNative) {
            return application.onEvent(this, frame);
        }
        // A native message that has a token can be replied to (NM-5).
        return frame.namespace().isEmpty() ? application.onNative(this, frame.body()) : null;
    }

    /** Sends what a handler answers, once it does. */
    private void answer(
            CompletionStage<Payload> handled,
            Consumer<Payload> onBody,
            Consumer<String> onError,
            Runnable onNothing) {
        CompletionStage<Payload> answered =
                handled == null ? CompletableFuture.completedFuture(null) : handled;
        answered.whenComplete((body, error) -> call(() -> {
            if (error == null && body == null) {
                onNothing.run(); // AR-9
            } else if (error == null) {
                onBody.accept(body);
            } else {
                boolean isMeant = cause(error) instanceof ErrorReply;
                String text = isMeant ? cause(error).getMessage() : ""; // SEC-17
                onError.accept(text.isEmpty() ? "error" : text); // FR-9
            }
            return CompletableFuture.completedFuture(null);
        }));
    }

    /** What a stage failed with. */
    static Throwable cause(Throwable error) {
        boolean isWrapped = error instanceof CompletionException && error.getCause() != null;
        return isWrapped ? error.getCause() : error;
    }
}
