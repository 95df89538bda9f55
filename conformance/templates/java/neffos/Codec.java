package neffos;

import java.io.ByteArrayOutputStream;
import java.util.Arrays;
import neffos.CodecException.Reason;
import neffos.Message.NativeMode;

/**
 * Frames and native messages, to and from one WebSocket message. Knows no connection. Bytes and
 * decoded text give the same message (FR-15). Names are compared as strings after unescaping
 * (FR-18, SEC-15).
 */
public final class Codec {
    /** Stands for one {@code ;} in a namespace, a room or an event (FR-3). */
    static final String ESCAPE = "@%!semicolon@%!";

    /** How many {@code ;} make a frame; those after them belong to the body (FR-1, FR-2). */
    static final int SEPARATORS = 6;

    /** No limit. */
    public static final Limits UNLIMITED = new Limits(Integer.MAX_VALUE, Integer.MAX_VALUE);

    /**
     * Sizes above which a payload is refused, in characters of text and in bytes of a binary
     * payload (SEC-1).
     *
     * @param payload the longest payload
     * @param field the longest field before the body
     */
    public record Limits(int payload, int field) {}

    /** How a payload is read. */
    public enum Decoding {
        /** As deployed peers do. */
        LENIENT,
        /** Only what the grammar allows. */
        STRICT
    }

    private Codec() {}

    /** Decodes leniently, without limits. */
    public static Message decode(Payload payload, NativeMode mode) {
        return decode(payload, Decoding.LENIENT, mode, UNLIMITED);
    }

    /**
     * Decodes one WebSocket message.
     *
     * @throws CodecException the payload is not acceptable
     */
    public static Message decode(
            Payload payload, Decoding decoding, NativeMode mode, Limits limits) {
        byte[] bytes = payload.bytes();
        int[] ends = separators(bytes);
        checkLimits(payload, ends, mode, limits);
        if (payload.isEmpty()) {
            throw new CodecException(Reason.EMPTY, 0, null); // FR-14
        }
        boolean isFrame = ends.length == SEPARATORS;
        if (mode == NativeMode.ONLY || mode == NativeMode.FALLBACK && !isFrame) {
            if (decoding == Decoding.STRICT && !payload.isBinary()) {
                checkUtf8(payload, bytes, null);
            }
            return new Message.Native(payload);
        }
        if (!isFrame) {
            int offset = payload.length(0, bytes.length);
            throw new CodecException(Reason.SEPARATORS, offset, Frame.FIELDS.get(ends.length));
        }
        int start = ends[SEPARATORS - 1] + 1;
        byte[] rest = Arrays.copyOfRange(bytes, start, bytes.length);
        Payload body = new Payload(rest, payload.isBinary());
        String[] fields = new String[SEPARATORS];
        for (int index = 0; index < SEPARATORS; index++) {
            int begin = index == 0 ? 0 : ends[index - 1] + 1;
            fields[index] = Payload.toText(Arrays.copyOfRange(bytes, begin, ends[index]));
        }
        Frame frame = new Frame(
                fields[0], // never escaped (FR-5)
                unescape(fields[1]),
                unescape(fields[2]),
                unescape(fields[3]),
                fields[4].equals("1"), // all else is false (FR-7)
                fields[5].equals("1"),
                body); // as it is (FR-10)
        if (decoding == Decoding.STRICT) {
            boolean isAny = payload.isBinary(); // a binary body may be any bytes (FR-12)
            checkUtf8(payload, isAny ? Arrays.copyOf(bytes, start) : bytes, ends);
            checkFlags(payload, fields, ends, frame);
        }
        return frame;
    }

    /**
     * Encodes a frame or a native message.
     *
     * @param mode how the peer decodes
     * @throws CodecException the peer could not decode it as what it is
     */
    public static Payload encode(Message message, NativeMode mode) {
        if (message instanceof Message.Native given) {
            checkNative(given.payload(), mode);
            return given.payload();
        }
        Frame frame = (Frame) message;
        check(frame);
        if (mode == NativeMode.ONLY) {
            throw new CodecException(Reason.NATIVE_MODE, 0, null); // NM-1
        }
        String flags = frame.isEmptyReply()
                ? ";" // FR-13
                : (frame.isError() ? "1" : "0") + ";" + (frame.isNoOp() ? "1" : "0"); // FR-6
        String head = String.join(
                ";",
                frame.waitField(),
                escape(frame.namespace()),
                escape(frame.room()),
                escape(frame.event()),
                flags,
                "");
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        bytes.writeBytes(Payload.toBytes(head));
        bytes.writeBytes(frame.body().bytes());
        return new Payload(bytes.toByteArray(), frame.body().isBinary());
    }

    /** Encodes a frame for a peer that reads frames. */
    public static Payload encode(Frame frame) {
        return encode(frame, NativeMode.NEVER);
    }

    private static String escape(String name) {
        return name.replace(";", ESCAPE);
    }

    private static String unescape(String field) {
        return field.replace(ESCAPE, ";");
    }

    /** The places of the first six {@code ;}, or of all if there are fewer. */
    private static int[] separators(byte[] bytes) {
        int[] ends = new int[SEPARATORS];
        int count = 0;
        for (int at = 0; at < bytes.length && count < SEPARATORS; at++) {
            if (bytes[at] == ';') {
                ends[count++] = at;
            }
        }
        return Arrays.copyOf(ends, count);
    }

    private static void checkLimits(Payload payload, int[] ends, NativeMode mode, Limits limits) {
        int size = payload.bytes().length;
        if (size > limits.payload && payload.length(0, size) > limits.payload) {
            throw new CodecException(Reason.PAYLOAD_TOO_LARGE, limits.payload, null);
        }
        boolean mayBeNative = mode == NativeMode.FALLBACK && ends.length < SEPARATORS;
        if (mode == NativeMode.ONLY || mayBeNative) {
            return; // a native message has no fields
        }
        int start = 0;
        for (int index = 0; index < Math.min(ends.length + 1, SEPARATORS); index++) {
            int end = index < ends.length ? ends[index] : size;
            if (end - start > limits.field && payload.length(start, end) > limits.field) {
                int offset = payload.length(0, start) + limits.field;
                throw new CodecException(Reason.FIELD_TOO_LONG, offset, Frame.FIELDS.get(index));
            }
            start = end + 1;
        }
    }

    /** Refuses bytes that are not UTF-8 (FR-12). Of a frame, the separators tell the field. */
    private static void checkUtf8(Payload payload, byte[] bytes, int[] ends) {
        int broken = Payload.firstBroken(bytes);
        if (broken >= 0) {
            String field = null;
            if (ends != null) {
                int before = (int) Arrays.stream(ends).filter(end -> end < broken).count();
                field = Frame.FIELDS.get(before);
            }
            throw new CodecException(Reason.UTF8, payload.length(0, broken), field);
        }
    }

    /** Refuses flags other than 0 and 1, but for the empty reply (FR-6, FR-13). */
    private static void checkFlags(Payload payload, String[] fields, int[] ends, Frame frame) {
        if (frame.isEmptyReply() && fields[4].isEmpty() && fields[5].isEmpty()) {
            return;
        }
        for (int index = 4; index < SEPARATORS; index++) {
            if (!fields[index].equals("0") && !fields[index].equals("1")) {
                int offset = payload.length(0, ends[index - 1] + 1);
                throw new CodecException(Reason.FLAG, offset, Frame.FIELDS.get(index));
            }
        }
    }

    /** Refuses a frame that would not be read back as it is. */
    static void check(Frame frame) {
        String[] texts = {frame.waitField(), frame.namespace(), frame.room(), frame.event()};
        for (int index = 0; index < texts.length; index++) {
            checkUtf8(texts[index], Frame.FIELDS.get(index));
        }
        Payload body = frame.body();
        if (!body.isBinary() && !Payload.isUtf8(body.bytes())) {
            checkUtf8(body.text(), "body");
        }
        int separator = frame.waitField().indexOf(';');
        if (separator >= 0) { // FR-5
            int offset = frame.waitField().codePointCount(0, separator);
            throw new CodecException(Reason.WAIT_SEPARATOR, offset, "wait");
        }
        for (int index = 1; index < texts.length; index++) {
            String sent = texts[index];
            String back = unescape(escape(sent));
            if (!back.equals(sent)) { // FR-4
                int same = 0;
                while (same < back.length() && back.charAt(same) == sent.charAt(same)) {
                    same++;
                }
                int offset = sent.codePointCount(0, same);
                throw new CodecException(Reason.ESCAPE_LITERAL, offset, Frame.FIELDS.get(index));
            }
        }
    }

    static void checkUtf8(String text, String field) {
        int broken = Payload.firstBroken(text);
        if (broken >= 0) {
            throw new CodecException(Reason.UTF8, broken, field);
        }
    }

    private static void checkNative(Payload payload, NativeMode mode) {
        if (mode == NativeMode.NEVER) {
            throw new CodecException(Reason.NATIVE_MODE, 0, null); // NM-1
        }
        if (!payload.isBinary()) {
            checkUtf8(payload, payload.bytes(), null);
        }
        if (payload.isEmpty()) {
            throw new CodecException(Reason.EMPTY, 0, null); // FR-14
        }
        if (mode == NativeMode.FALLBACK && separators(payload.bytes()).length == SEPARATORS) {
            throw new CodecException(Reason.NATIVE_LOOKS_LIKE_FRAME, 0, null); // NM-3
        }
    }
}
