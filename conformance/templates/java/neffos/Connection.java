package neffos;

import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.WebSocket;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * A WebSocket of {@code java.net.http}: whole messages in their order, and one end. All callbacks
 * come on the executor, which must have one thread.
 */
final class Connection implements WebSocket.Listener {
    /** Bytes of a message: far above any event seen, far below memory (SEC-1). */
    static final int LARGEST = SessionLimits.USUAL.payload();

    /** Bytes of messages that wait to be handled; no more are read meanwhile. */
    private static final int UNHANDLED = 1 << 20;

    /** What a waiting message takes beside its bytes. */
    private static final int OVERHEAD = 128;

    /** Bytes that wait for a server that does not read; more ends the connection (SEC-8). */
    private static final int UNSENT = 16 << 20;

    /**
     * One for all connections. It calls on its own thread, since what it calls here is short. With
     * another thread, the JDK (17 to 25) races with itself when a message is wrong: it may end TCP
     * before it has sent the close frame (TR-13, TR-17). The same happens if {@code request} finds
     * such a message read already, so that messages are asked for ahead.
     */
    private static final HttpClient HTTP = HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1)
            .executor(Runnable::run)
            .build();

    private final Executor loop;
    private final Consumer<Payload> onMessage;
    private final Runnable onEnd;
    private final StringBuilder text = new StringBuilder();
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private WebSocket socket;
    private CompletableFuture<WebSocket> sending;
    private final AtomicLong unhandled = new AtomicLong();
    private long unsent;
    private boolean isOver;

    private Connection(Executor loop, Consumer<Payload> onMessage, Runnable onEnd) {
        this.loop = loop;
        this.onMessage = onMessage;
        this.onEnd = onEnd;
    }

    /** Opens a WebSocket without a subprotocol (TR-1, TR-2). */
    static CompletableFuture<Connection> open(
            URI url,
            Map<String, String> headers,
            Duration timeout,
            Executor loop,
            Consumer<Payload> onMessage,
            Runnable onEnd) {
        WebSocket.Builder builder = HTTP.newWebSocketBuilder().connectTimeout(timeout);
        headers.forEach(builder::header);
        Connection connection = new Connection(loop, onMessage, onEnd);
        return builder.buildAsync(url, connection).thenApplyAsync(socket -> {
            connection.socket = socket;
            connection.sending = CompletableFuture.completedFuture(socket);
            socket.request(1);
            return connection;
        }, loop);
    }

    /** Asks whether there is a server: any HTTP response proves it (TR-5). */
    static CompletableFuture<HttpResponse<Void>> probe(URI url, Duration timeout) {
        URI http = URI.create(url.toString().replaceFirst("^ws", "http"));
        HttpRequest request = HttpRequest.newBuilder(http)
                .method("HEAD", HttpRequest.BodyPublishers.noBody())
                .timeout(timeout)
                .build();
        return HTTP.sendAsync(request, HttpResponse.BodyHandlers.discarding());
    }

    /** Sends a message after those before it: a {@code WebSocket} takes one at a time. */
    void send(Payload payload) {
        int size = payload.bytes().length;
        unsent += size;
        if (unsent > UNSENT) {
            abort();
            return;
        }
        sending = sending.thenCompose(socket -> payload.isBinary()
                ? socket.sendBinary(ByteBuffer.wrap(payload.bytes()), true)
                : socket.sendText(payload.text(), true));
        sending.whenCompleteAsync((done, error) -> {
            unsent -= size;
            if (error != null) {
                abort();
            }
        }, loop);
    }

    /** Completes when all messages so far are sent. */
    CompletableFuture<Void> sent() {
        return sending.thenAccept(socket -> { });
    }

    /** Sends a close frame after all messages (TR-12); the end follows when the server answers. */
    void close() {
        if (isOver) {
            return;
        }
        sending = sending.thenCompose(socket -> socket.sendClose(WebSocket.NORMAL_CLOSURE, ""));
    }

    /** Ends the connection without a close frame. */
    void abort() {
        socket.abort();
        end();
    }

    private void end() {
        if (!isOver) {
            isOver = true;
            onEnd.run();
        }
    }

    // ---- Calls of the WebSocket, one after the other ----

    @Override
    public void onOpen(WebSocket opened) {
        // The first message is asked for once the connection is in use.
    }

    @Override
    public CompletionStage<?> onText(WebSocket from, CharSequence part, boolean isLast) {
        text.append(part);
        if (text.length() > LARGEST) {
            loop.execute(this::abort);
        } else if (isLast) {
            deliver(from, Payload.text(text.toString()));
            text.setLength(0);
        } else {
            from.request(1);
        }
        return null;
    }

    @Override
    public CompletionStage<?> onBinary(WebSocket from, ByteBuffer part, boolean isLast) {
        byte[] read = new byte[part.remaining()];
        part.get(read);
        bytes.writeBytes(read);
        if (bytes.size() > LARGEST) {
            loop.execute(this::abort);
        } else if (isLast) {
            deliver(from, Payload.binary(bytes.toByteArray()));
            bytes.reset();
        } else {
            from.request(1);
        }
        return null;
    }

    private void deliver(WebSocket from, Payload payload) {
        int size = payload.bytes().length + OVERHEAD;
        if (unhandled.addAndGet(size) < UNHANDLED) {
            from.request(1);
        }
        loop.execute(() -> {
            try {
                onMessage.accept(payload);
            } finally {
                long before = unhandled.getAndAdd(-size);
                if (before >= UNHANDLED && before - size < UNHANDLED) {
                    from.request(1);
                }
            }
        });
    }

    @Override
    public CompletionStage<?> onClose(WebSocket from, int code, String reason) {
        loop.execute(this::end); // TR-14
        return null; // the WebSocket answers the close frame (TR-16)
    }

    @Override
    public void onError(WebSocket from, Throwable error) {
        loop.execute(this::end); // TR-14; after text that is not UTF-8 too (TR-17)
    }
}
