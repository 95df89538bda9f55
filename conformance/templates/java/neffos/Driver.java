package neffos;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import neffos.Message.NativeMode;

/**
 * Lets the suite test the client: performs the operations on standard input, as the page "The
 * driver protocol" of the specification says. To test your client, replace what they call.
 */
public final class Driver {
    /** The time for an operation that names none. */
    private static final Duration TIMEOUT = Duration.ofSeconds(10);

    /** A namespace and a room that this client refuses. */
    private static final String UNWANTED = "unwanted";

    private static final Set<String> NAMESPACES = Set.of("app", "any", "semi;colon", UNWANTED, "");

    private static final Map<Long, Client> CLIENTS = new ConcurrentHashMap<>();

    private Driver() {}

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String runtime = "Java " + Runtime.version();
        print(Json.of(
                "ready", true,
                "driver", 1,
                "peer", "template",
                "version", "1",
                "runtime", runtime));
        long number = 0;
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            number++;
            Map<String, Object> operation = Map.of();
            try {
                operation = Json.object(Json.parse(line));
            } catch (IllegalArgumentException notJson) {
                // It has no number, and is answered as such.
            }
            if (operation.get("id") instanceof Long && operation.get("op") instanceof String) {
                start(operation, number);
            } else {
                Map<String, Object> answer = new LinkedHashMap<>();
                answer.put("id", operation.get("id") instanceof Long id ? id : null);
                answer.put("error", "this is not an operation");
                print(answer);
            }
        }
    }

    private static void print(Map<String, Object> line) {
        System.out.println(Json.write(line));
    }

    /** Starts an operation; its answer is printed when it has ended. */
    private static void start(Map<String, Object> operation, long number) {
        CompletableFuture<Map<String, Object>> done;
        try {
            done = perform(operation, number);
        } catch (RuntimeException error) { // the operation lacks something
            done = CompletableFuture.failedFuture(error);
        }
        Object id = operation.get("id");
        if (done == null) {
            print(Json.of("id", id, "unsupported", true));
            return;
        }
        done.whenComplete((result, error) -> {
            if (error == null) {
                print(Json.of("id", id, "result", result));
            } else {
                print(Json.of("id", id, "error", text(Client.cause(error))));
            }
        });
    }

    private static String text(Throwable error) {
        boolean isText = error.getMessage() != null && !error.getMessage().isEmpty();
        return isText ? error.getMessage() : error.getClass().getSimpleName();
    }

    /** Null: this driver does not know the operation. */
    private static CompletableFuture<Map<String, Object>> perform(
            Map<String, Object> operation, long number) {
        String name = text(operation, "op");
        String namespace = text(operation, "namespace");
        String room = text(operation, "room");
        String event = text(operation, "event");
        Duration timeout = operation.get("timeout") instanceof Number seconds
                ? Duration.ofNanos((long) (seconds.doubleValue() * 1e9))
                : TIMEOUT;
        switch (name) {
            case "dial":
                return dial(operation, number, timeout);
            case "connect", "disconnect", "join", "leave":
                Change change = Change.valueOf(name.toUpperCase());
                return empty(client(operation).change(change, namespace, room, timeout));
            case "leave-all":
                return empty(client(operation).leaveAll(namespace, timeout));
            case "emit":
                return empty(client(operation).emit(namespace, room, event, body(operation)));
            case "ask":
                return client(operation)
                        .ask(namespace, room, event, body(operation), timeout)
                        .thenApply(Driver::values);
            case "native":
                return empty(client(operation).sendNative(body(operation)));
            case "close":
                return empty(client(operation).close());
            default:
                return null;
        }
    }

    private static CompletableFuture<Map<String, Object>> empty(CompletableFuture<Void> done) {
        return done.thenApply(nothing -> Json.of());
    }

    private static CompletableFuture<Map<String, Object>> dial(
            Map<String, Object> operation, long number, Duration timeout) {
        Map<String, String> headers = new LinkedHashMap<>();
        Json.object(operation.get("headers"))
                .forEach((header, value) -> headers.put(header, (String) value));
        Client.Options options = new Client.Options(
                URI.create(text(operation, "url")),
                headers,
                NAMESPACES,
                NativeMode.FALLBACK,
                operation.get("reconnect") == Boolean.TRUE,
                timeout);
        return Client.dial(options, new Conformance(number)).thenApply(client -> {
            CLIENTS.put(number, client);
            return Json.of("connection", number, "connection_id", client.id());
        });
    }

    private static Client client(Map<String, Object> operation) {
        Client client = CLIENTS.get((Long) operation.get("connection"));
        if (client == null) {
            String text = "there is no connection " + operation.get("connection");
            throw new IllegalArgumentException(text);
        }
        return client;
    }

    private static String text(Map<String, Object> operation, String name) {
        return (String) operation.getOrDefault(name, "");
    }

    private static Payload body(Map<String, Object> operation) {
        if (operation.get("base64") instanceof String digits) {
            return Payload.binary(Base64.getDecoder().decode(digits));
        } else if (operation.get("text") instanceof String text) {
            return Payload.text(text);
        }
        throw new IllegalArgumentException("the operation has no body");
    }

    private static Map<String, Object> values(Payload body) {
        return body.isBinary()
                ? Json.of("base64", Base64.getEncoder().encodeToString(body.bytes()))
                : Json.of("text", body.text());
    }

    /** The client's side of the conformance application, on one connection. */
    private record Conformance(long connection) implements Application {
        @Override
        public String refuse(Change change, String namespace, String room) {
            String name = change.isOfRoom() ? room : namespace;
            return name.equals(UNWANTED) ? "not wanted" : null;
        }

        @Override
        public CompletionStage<Payload> onEvent(Client client, Frame event) {
            Payload body = event.body();
            Map<String, Object> line = saw("event");
            line.put("namespace", event.namespace());
            line.put("room", event.room());
            line.put("event", event.event());
            if (event.isError()) {
                line.put("text", body.text()); // an error text is text in either type (FR-17)
                line.put("error", true);
            } else {
                line.putAll(values(body));
            }
            print(line);
            return switch (event.event()) {
                case "echo", "question" -> CompletableFuture.completedFuture(body);
                case "fail" -> CompletableFuture.failedFuture(new ErrorReply(body.text()));
                case "relay" -> client.ask(event.namespace(), "", "echo", body, TIMEOUT);
                default -> null;
            };
        }

        @Override
        public CompletionStage<Payload> onNative(Client client, Payload message) {
            Map<String, Object> line = saw("native");
            line.putAll(values(message));
            print(line);
            return null;
        }

        @Override
        public void onChange(Change change, String namespace, String room) {
            Map<String, Object> line = saw(switch (change) {
                case CONNECT -> "connected";
                case DISCONNECT -> "disconnected";
                case JOIN -> "joined";
                case LEAVE -> "left";
            });
            line.put("namespace", namespace);
            if (change.isOfRoom()) {
                line.put("room", room);
            }
            print(line);
        }

        @Override
        public void onReconnect(String id) {
            Map<String, Object> line = saw("reconnected");
            line.put("connection_id", id);
            print(line);
        }

        @Override
        public void onClose() {
            print(saw("closed"));
        }

        private Map<String, Object> saw(String what) {
            return Json.of("saw", what, "connection", connection);
        }
    }
}
