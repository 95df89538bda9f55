package neffos;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CoderResult;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * One WebSocket message, or the body of a frame, which has the type of its message (FR-11).
 *
 * <p>A string cannot contain bytes that are not UTF-8. Each such byte is a surrogate of its own
 * here, from {@code U+DC80} to {@code U+DCFF}, so that it comes back as it was.
 *
 * @param bytes the content; UTF-8 if it is text. Nobody changes it.
 * @param isBinary whether the message is binary, and not text
 */
public record Payload(byte[] bytes, boolean isBinary) {
    /** An empty text: the body of an event that has none. */
    public static final Payload EMPTY = text("");

    public static Payload text(String text) {
        return new Payload(toBytes(text), false);
    }

    public static Payload binary(byte[] bytes) {
        return new Payload(bytes, true);
    }

    /** The content as text. */
    public String text() {
        return toText(bytes);
    }

    public boolean isEmpty() {
        return bytes.length == 0;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Payload payload
                && payload.isBinary == isBinary
                && Arrays.equals(payload.bytes, bytes);
    }

    @Override
    public int hashCode() {
        return 31 * Arrays.hashCode(bytes) + Boolean.hashCode(isBinary);
    }

    @Override
    public String toString() {
        return (isBinary ? "binary " : "text ") + text();
    }

    /** The characters of a part of text, or the bytes of a part of a binary message. */
    int length(int start, int end) {
        if (isBinary) {
            return end - start;
        }
        String part = toText(Arrays.copyOfRange(bytes, start, end));
        return part.codePointCount(0, part.length());
    }

    static String toText(byte[] bytes) {
        if (isUtf8(bytes)) {
            return new String(bytes, StandardCharsets.UTF_8);
        }
        CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
        ByteBuffer in = ByteBuffer.wrap(bytes);
        CharBuffer out = CharBuffer.allocate(bytes.length);
        CoderResult result = decoder.decode(in, out, true);
        for (; result.isError(); result = decoder.decode(in, out, true)) {
            for (int left = result.length(); left > 0; left--) {
                out.put((char) (0xDC00 | in.get() & 0xFF));
            }
            decoder.reset();
        }
        return out.flip().toString();
    }

    static byte[] toBytes(String text) {
        if (firstBroken(text) < 0) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(text.length());
        text.codePoints().forEach(point -> {
            if (point >= 0xDC80 && point <= 0xDCFF) {
                bytes.write(point);
            } else if (isSurrogate(point)) { // no UTF-8 has these bytes
                bytes.writeBytes(new byte[] {
                    (byte) 0xED, (byte) (0x80 | point >> 6 & 0x3F), (byte) (0x80 | point & 0x3F)
                });
            } else {
                bytes.writeBytes(Character.toString(point).getBytes(StandardCharsets.UTF_8));
            }
        });
        return bytes.toByteArray();
    }

    static boolean isUtf8(byte[] bytes) {
        return firstBroken(bytes) < 0;
    }

    /** The index of the first byte that is not UTF-8, or -1 (FR-12). */
    static int firstBroken(byte[] bytes) {
        CharsetDecoder decoder = StandardCharsets.UTF_8.newDecoder();
        ByteBuffer in = ByteBuffer.wrap(bytes);
        CharBuffer out = CharBuffer.allocate(4096);
        CoderResult result = decoder.decode(in, out, true);
        for (; result.isOverflow(); result = decoder.decode(in, out, true)) {
            out.clear();
        }
        return result.isError() ? in.position() : -1;
    }

    /** The number of characters before the first one that UTF-8 cannot write, or -1 (FR-12). */
    static int firstBroken(String text) {
        int characters = 0;
        for (int at = 0; at < text.length(); characters++) {
            int point = text.codePointAt(at);
            if (isSurrogate(point)) {
                return characters;
            }
            at += Character.charCount(point);
        }
        return -1;
    }

    private static boolean isSurrogate(int point) {
        return point >= Character.MIN_SURROGATE && point <= Character.MAX_SURROGATE;
    }
}
