package neffos;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import neffos.Message.NativeMode;
import neffos.Session.Role;

/**
 * Plays the session vectors of a folder to {@link Session}: no socket, no clock, no driver. It
 * prints one line of JSON. {@code protocol/vectors/README.md} describes the vectors.
 */
public final class Vectors {
    /** The connection's ID, where a vector gives none. */
    private static final String ID = "00000000-0000-4000-8000-000000000001";

    /** Stands for any text that is not empty, at the end of a payload. */
    private static final String ANY_TEXT = "<<text>>";

    private final Session session;

    /** The values of placeholders, such as the tokens of this peer. */
    private final Map<String, String> names = new HashMap<>();

    private final Map<Integer, Event> asked = new HashMap<>();

    private Vectors(Map<String, Object> vector) {
        Map<String, Object> given = Json.object(vector.get("given"));
        Role role = Role.valueOf(text(vector, "role").toUpperCase());
        String id = given.containsKey("id") ? text(given, "id") : ID;
        String prefix = role == Role.CLIENT ? Wait.CLIENT_PREFIX : "";
        names.put("<<id>>", id);
        Set<String> namespaces = new HashSet<>();
        Json.list(given.get("namespaces")).forEach(each -> namespaces.add((String) each));
        Set<Change> decides = new HashSet<>();
        for (Object each : Json.list(given.get("decides"))) {
            decides.add(Change.valueOf(each.toString().toUpperCase()));
        }
        String mode = given.containsKey("native") ? text(given, "native") : "never";
        session = new Session(new Session.Settings(
                role,
                () -> prefix + "own-" + names.size(),
                id,
                namespaces,
                decides,
                given.get("decides_handshake") == Boolean.TRUE,
                NativeMode.valueOf(mode.toUpperCase()),
                limits(Json.object(given.get("limits")))));
    }

    public static void main(String[] arguments) throws IOException {
        int played = 0;
        Map<String, Object> failed = Json.of();
        List<Path> paths;
        try (Stream<Path> all = Files.list(Path.of(arguments[0]))) {
            paths = all.filter(path -> path.toString().endsWith(".json")).sorted().toList();
        }
        for (Path path : paths) {
            if (path.endsWith("schema.json")) {
                continue;
            }
            Map<String, Object> file = Json.object(Json.parse(read(path)));
            if (!Long.valueOf(1).equals(file.get("format"))) {
                throw new IllegalArgumentException(path + " has another format");
            }
            for (Object each : Json.list(file.get("vectors"))) {
                Map<String, Object> vector = Json.object(each);
                Object difference = new Vectors(vector).play(Json.list(vector.get("steps")));
                if (difference == null) {
                    played++;
                } else {
                    failed.put(text(vector, "id"), difference);
                }
            }
        }
        Object result = Json.of("played", played, "skipped", Json.of(), "failed", failed);
        System.out.println(Json.write(result));
        System.exit(failed.isEmpty() && played > 0 ? 0 : 1);
    }

    private static String read(Path path) {
        try {
            return Files.readString(path);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Plays a vector; gives what differs, or null. */
    private Object play(List<Object> steps) {
        for (int number = 1; number <= steps.size(); number++) {
            Map<String, Object> step = Json.object(steps.get(number - 1));
            boolean isMisuse = false;
            try {
                take(step);
            } catch (IllegalStateException | CodecException refused) {
                isMisuse = true;
            }
            List<Object> expected = new ArrayList<>(Json.list(step.get("send")));
            List<Payload> sent = session.outgoing();
            boolean isSent = expected.size() == sent.size();
            for (int index = 0; isSent && index < sent.size(); index++) {
                isSent = matches(payload(expected.get(index)), sent.get(index));
            }
            if (!isSent) {
                return Json.of("step", number, "expected", expected, "actual", sent.toString());
            }
            List<Object> events = new ArrayList<>();
            session.events().forEach(event -> events.add(values(event)));
            Object told = filled(step.get("events"), "<<id>>", names.get("<<id>>"));
            List<Object> wanted = Json.list(told);
            if (!events.equals(wanted)) {
                return Json.of("step", number, "expected", wanted, "actual", events);
            }
            if (isMisuse != (step.get("misuse") == Boolean.TRUE)) {
                return Json.of("step", number, "misuse", isMisuse);
            }
        }
        return null;
    }

    // ---- Input ----

    private void take(Map<String, Object> step) {
        if (step.containsKey("receive")) {
            session.receive(payload(step.get("receive")));
        } else if (step.containsKey("time")) {
            session.expire(((Number) step.get("time")).doubleValue());
        } else if (step.containsKey("end")) {
            session.ended();
        } else {
            call(step);
        }
    }

    private void call(Map<String, Object> step) {
        String command = text(step, "do");
        String namespace = text(step, "namespace");
        String room = text(step, "room");
        String event = text(step, "event");
        String text = text(step, "text");
        Payload body = step.containsKey("body") ? payload(step.get("body")) : Payload.EMPTY;
        double deadline = step.get("deadline") instanceof Number number
                ? number.doubleValue()
                : Double.POSITIVE_INFINITY;
        switch (command) {
            case "start" -> session.start();
            case "accept" -> session.accept();
            case "refuse" -> session.refuse(text);
            case "close" -> session.close();
            case "connect", "disconnect", "join", "leave" -> {
                Change change = Change.valueOf(command.toUpperCase());
                note(session.ask(change, namespace, room, deadline));
            }
            case "ask" -> note(session.ask(namespace, room, event, body, deadline));
            case "emit" -> session.emit(namespace, room, event, body);
            case "emit-error" -> session.emitError(namespace, room, event, Payload.text(text));
            case "broadcast" -> {
                if (session.isMember(namespace, room)) { // EV-8
                    session.emit(namespace, room, event, body);
                }
            }
            case "native" -> session.sendNative(body);
            case "allow" -> session.allow(asked(step, Event.ChangeAsked.class));
            case "deny" -> session.deny(asked(step, Event.ChangeAsked.class), text);
            case "reply" -> session.reply(asked(step, Event.Asked.class), body);
            case "reply-error" -> session.replyError(asked(step, Event.Asked.class), text);
            case "ignore" -> session.ignore(asked(step, Event.Asked.class));
            default -> throw new IllegalArgumentException("there is no command " + command);
        }
    }

    /** Gives the token of an ask its placeholder: {@code <<t1>>} is the first. */
    private void note(String token) {
        names.put("<<t" + names.size() + ">>", token);
    }

    private <T extends Event> T asked(Map<String, Object> step, Class<T> type) {
        Event event = asked.get(((Number) step.get("ask")).intValue());
        Session.require(type.isInstance(event), "there was no such ask");
        return type.cast(event);
    }

    private static String text(Map<String, Object> object, String name) {
        return (String) object.getOrDefault(name, "");
    }

    private static SessionLimits limits(Map<String, Object> given) {
        SessionLimits usual = SessionLimits.USUAL;
        return new SessionLimits(
                limit(given, "payload", usual.payload()),
                limit(given, "held", usual.held()),
                limit(given, "held_size", usual.heldSize()),
                limit(given, "namespaces", usual.namespaces()),
                limit(given, "rooms", usual.rooms()),
                limit(given, "name", usual.name()),
                limit(given, "token", usual.token()),
                limit(given, "incoming_asks", usual.incomingAsks()),
                limit(given, "repeats", usual.repeats()),
                limit(given, "outgoing_asks", usual.outgoingAsks()));
    }

    private static int limit(Map<String, Object> given, String name, int usual) {
        return given.get(name) instanceof Long limit ? Math.toIntExact(limit) : usual;
    }

    // ---- Payloads ----

    /** Builds a payload or a body from its description. */
    private Payload payload(Object described) {
        if (described instanceof String text) {
            return Payload.text(filled(text));
        }
        Map<String, Object> parts = Json.object(described);
        byte[] head = Payload.toBytes(filled(text(parts, "binary")));
        byte[] tail = HexFormat.of().parseHex(text(parts, "hex"));
        byte[] bytes = Arrays.copyOf(head, head.length + tail.length);
        System.arraycopy(tail, 0, bytes, head.length, tail.length);
        return Payload.binary(bytes);
    }

    private static Object described(Payload payload) {
        byte[] bytes = payload.bytes();
        if (!payload.isBinary()) {
            return payload.text();
        }
        int broken = Payload.firstBroken(bytes);
        int end = broken < 0 ? bytes.length : broken;
        String head = Payload.toText(Arrays.copyOf(bytes, end));
        String tail = HexFormat.of().formatHex(bytes, end, bytes.length);
        boolean isHead = !head.isEmpty() || tail.isEmpty();
        return Json.of("binary", isHead ? head : null, "hex", tail.isEmpty() ? null : tail);
    }

    private String filled(String text) {
        String done = text;
        for (Map.Entry<String, String> name : names.entrySet()) {
            done = done.replace(name.getKey(), name.getValue());
        }
        return done;
    }

    private static Object filled(Object value, String name, String with) {
        if (value instanceof Map) {
            Map<String, Object> done = Json.of();
            Json.object(value).forEach((key, each) -> done.put(key, filled(each, name, with)));
            return done;
        } else if (value instanceof List) {
            return Json.list(value).stream().map(each -> filled(each, name, with)).toList();
        }
        return value instanceof String text ? text.replace(name, with) : value;
    }

    private static boolean matches(Payload expected, Payload actual) {
        String wanted = expected.text();
        if (!wanted.endsWith(ANY_TEXT)) {
            return expected.equals(actual);
        }
        String head = wanted.substring(0, wanted.length() - ANY_TEXT.length());
        String found = actual.text();
        return expected.isBinary() == actual.isBinary()
                && found.startsWith(head)
                && found.length() > head.length();
    }

    // ---- Events ----

    /** An event as vectors have it: its name, and its fields that are not empty. */
    private Map<String, Object> values(Event event) {
        String name = event.getClass().getSimpleName();
        Map<String, Object> values =
                Json.of("event", name.replaceAll("(?<!^)(?=[A-Z])", "-").toLowerCase());
        for (RecordComponent component : event.getClass().getRecordComponents()) {
            Object value;
            try {
                value = component.getAccessor().invoke(event);
            } catch (ReflectiveOperationException error) {
                throw new AssertionError(error);
            }
            switch (component.getName()) {
                case "explanation" -> { }
                case "number" -> {
                    asked.put((Integer) value, event);
                    values.put("ask", ((Integer) value).longValue());
                }
                case "token" -> {
                    if (!(event instanceof Event.ChangeRefused)) {
                        values.put("token", placeholder(value.toString()));
                    }
                }
                case "frame" -> values.put("message", values((Frame) value));
                case "payload" -> {
                    if (!((Payload) value).isEmpty()) {
                        values.put("payload", described((Payload) value));
                    }
                }
                default -> put(values, component.getName(), value.toString());
            }
        }
        return values;
    }

    private Map<String, Object> values(Frame frame) {
        Map<String, Object> values = Json.of();
        put(values, "wait", placeholder(frame.waitField()));
        put(values, "namespace", frame.namespace());
        put(values, "room", frame.room());
        put(values, "event", frame.event());
        if (frame.isError()) {
            values.put("is_error", true);
        }
        if (frame.isNoOp()) {
            values.put("is_no_op", true);
        }
        if (!frame.body().isEmpty() || frame.body().isBinary()) {
            values.put("body", described(frame.body()));
        }
        return values;
    }

    private static void put(Map<String, Object> values, String name, String text) {
        if (!text.isEmpty()) {
            values.put(name, text);
        }
    }

    private String placeholder(String token) {
        for (Map.Entry<String, String> name : names.entrySet()) {
            if (name.getValue().equals(token)) {
                return name.getKey();
            }
        }
        return token;
    }
}
