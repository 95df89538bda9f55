package neffos;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.HexFormat;
import java.util.Map;
import java.util.Set;
import neffos.Codec.Decoding;
import neffos.Codec.Limits;
import neffos.Message.NativeMode;

/**
 * Lets the suite test the codec: answers each line of JSON with another, as the page "The codec
 * protocol" of the specification says. To test your codec, replace what the operations call.
 */
public final class CodecAdapter {
    /** A request that this adapter does not know, or that its codec does not support. */
    private static final class Unsupported extends RuntimeException {
        private static final long serialVersionUID = 1;
    }

    private CodecAdapter() {}

    public static void main(String[] arguments) throws IOException {
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        String runtime = "Java " + Runtime.version();
        System.out.println(Json.write(Json.of(
                "ready", true,
                "codec", 1,
                "peer", "template",
                "version", "1",
                "runtime", runtime)));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(Json.write(answer(line)));
        }
    }

    private static Map<String, Object> answer(String line) {
        Map<String, Object> answer = Json.of();
        answer.put("id", null);
        try {
            Map<String, Object> request = Json.object(Json.parse(line));
            if (!(request.get("id") instanceof Long id)) {
                throw new IllegalArgumentException("a request has a whole number as its id");
            }
            answer.put("id", id);
            if (!(request.get("op") instanceof String operation)) {
                throw new IllegalArgumentException("a request has a text as its op");
            }
            answer.putAll(perform(operation, request));
        } catch (Unsupported unsupported) {
            answer.put("unsupported", true);
        } catch (CodecException refused) {
            answer.put("reject", refused.reason());
            answer.put("offset", refused.offset());
            if (refused.field() != null) {
                answer.put("field", refused.field());
            }
        } catch (RuntimeException error) { // a malformed request, or a fault of the codec
            answer.put("error", String.valueOf(error.getMessage()));
        }
        return answer;
    }

    private static Map<String, Object> perform(String operation, Map<String, Object> request) {
        switch (operation) {
            case "decode": {
                know(request, "payload", "reading", "native", "limits");
                Message message = Codec.decode(
                        content(request.get("payload")),
                        decoding(request),
                        nativeMode(request),
                        limits(request));
                if (message instanceof Message.Native given) {
                    return Json.of("native", value(given.payload()));
                }
                return Json.of("message", values((Frame) message));
            }
            case "encode": {
                know(request, "message", "native_payload", "native");
                Message message = request.containsKey("native_payload")
                        ? new Message.Native(content(request.get("native_payload")))
                        : frame(request.get("message"));
                return Json.of("payload", value(Codec.encode(message, nativeMode(request))));
            }
            case "decode-handshake":
                know(request, "payload", "reading");
                Payload payload = content(request.get("payload"));
                return Json.of("handshake", values(Handshake.decode(payload, decoding(request))));
            case "encode-handshake":
                know(request, "handshake");
                return Json.of(
                        "payload", value(Handshake.encode(handshake(request.get("handshake")))));
            case "reply":
                know(request, "message", "reply");
                Frame reply = reply(frame(request.get("message")), request.get("reply"));
                return Json.of("payload", value(Codec.encode(reply)));
            case "parse-wait":
                know(request, "wait");
                Wait wait = Wait.parse(text(request.get("wait")));
                return Json.of("parsed", Json.of(
                        "kind", wait.kind(),
                        "token", value(Payload.text(wait.token())),
                        "from_exchange", wait.isFromExchange(),
                        "sender", value(Payload.text(wait.sender()))));
            default:
                throw new Unsupported();
        }
    }

    // ---- Values of a request ----

    private static void know(Map<String, Object> request, String... names) {
        Set<String> known = Set.of(names);
        for (String name : request.keySet()) {
            if (!known.contains(name) && !name.equals("id") && !name.equals("op")) {
                throw new Unsupported();
            }
        }
    }

    private static Payload content(Object value) {
        Map<String, Object> object = Json.object(value);
        if (value instanceof String text) {
            if (Payload.firstBroken(text) >= 0) {
                throw new IllegalArgumentException("text that is not UTF-8 is written as hex");
            }
            return Payload.text(text);
        } else if (object.get("hex") instanceof String digits) {
            return new Payload(HexFormat.of().parseHex(digits), false);
        } else if (object.get("base64") instanceof String digits) {
            return Payload.binary(Base64.getDecoder().decode(digits));
        }
        throw new IllegalArgumentException("this is neither text, nor hex, nor base64");
    }

    private static String text(Object value) {
        Payload content = content(value);
        if (content.isBinary()) {
            throw new IllegalArgumentException("a text is not base64");
        }
        return content.text();
    }

    private static Frame frame(Object value) {
        Map<String, Object> values = Json.object(value);
        if (!values.keySet().equals(Set.copyOf(Frame.FIELDS))) {
            throw new IllegalArgumentException("a message has the fields " + Frame.FIELDS);
        }
        Frame frame = new Frame(
                text(values.get("wait")),
                text(values.get("namespace")),
                text(values.get("room")),
                text(values.get("event")),
                (Boolean) values.get("is_error"),
                (Boolean) values.get("is_no_op"),
                content(values.get("body")));
        Codec.check(frame);
        return frame;
    }

    private static Handshake handshake(Object value) {
        Map<String, Object> values = Json.object(value);
        if (values.containsKey("accept")) {
            return new Handshake.Acceptance(text(values.get("accept")));
        } else if (values.containsKey("refuse")) {
            return new Handshake.Refusal(text(values.get("refuse")));
        } else if (values.containsKey("request")) {
            return new Handshake.Request();
        }
        throw new IllegalArgumentException("a handshake message is request, accept or refuse");
    }

    private static Frame reply(Frame asked, Object value) {
        Map<String, Object> values = Json.object(value);
        if (values.containsKey("body")) {
            return asked.reply(content(values.get("body")));
        } else if (values.containsKey("error")) {
            return asked.errorReply(text(values.get("error")));
        } else if (values.containsKey("empty")) {
            return asked.emptyReply();
        }
        throw new IllegalArgumentException("a reply is body, error or empty");
    }

    private static Decoding decoding(Map<String, Object> request) {
        return oneOf(Decoding.values(), request.getOrDefault("reading", "lenient"));
    }

    private static NativeMode nativeMode(Map<String, Object> request) {
        return oneOf(NativeMode.values(), request.getOrDefault("native", "never"));
    }

    private static <T extends Enum<T>> T oneOf(T[] all, Object name) {
        for (T each : all) {
            if (each.name().toLowerCase().equals(name)) {
                return each;
            }
        }
        throw new Unsupported();
    }

    private static Limits limits(Map<String, Object> request) {
        Map<String, Object> limits = Json.object(request.get("limits"));
        if (!Set.of("payload", "field").containsAll(limits.keySet())) {
            throw new Unsupported();
        }
        return new Limits(limit(limits.get("payload")), limit(limits.get("field")));
    }

    private static int limit(Object value) {
        return value == null ? Integer.MAX_VALUE : Math.toIntExact((Long) value);
    }

    // ---- Values of an answer ----

    private static Object value(Payload content) {
        if (content.isBinary()) {
            return Json.of("base64", Base64.getEncoder().encodeToString(content.bytes()));
        } else if (!Payload.isUtf8(content.bytes())) {
            return Json.of("hex", HexFormat.of().formatHex(content.bytes()));
        }
        return content.text();
    }

    private static Map<String, Object> values(Frame frame) {
        return Json.of(
                "wait", value(Payload.text(frame.waitField())),
                "namespace", value(Payload.text(frame.namespace())),
                "room", value(Payload.text(frame.room())),
                "event", value(Payload.text(frame.event())),
                "is_error", frame.isError(),
                "is_no_op", frame.isNoOp(),
                "body", value(frame.body()));
    }

    private static Map<String, Object> values(Handshake handshake) {
        if (handshake instanceof Handshake.Acceptance acceptance) {
            return Json.of("accept", value(Payload.text(acceptance.id())));
        } else if (handshake instanceof Handshake.Refusal refusal) {
            return Json.of("refuse", value(Payload.text(refusal.text())));
        }
        return Json.of("request", Json.of());
    }
}
