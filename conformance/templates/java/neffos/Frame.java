package neffos;

import java.util.List;
import neffos.CodecException.Reason;

/**
 * The seven fields of a frame (FR-1).
 *
 * @param waitField the field {@code wait}: the token of an ask, or of the reply to it; empty if no
 *     reply is expected (AR-1)
 * @param namespace the namespace, possibly the empty one
 * @param room the room, or empty
 * @param event the event
 * @param isError whether the body is an error text (FR-8)
 * @param isNoOp whether the sender asks for nothing to be done
 * @param body the body
 */
public record Frame(
        String waitField,
        String namespace,
        String room,
        String event,
        boolean isError,
        boolean isNoOp,
        Payload body)
        implements Message {
    /** The names of the fields, in their order. */
    public static final List<String> FIELDS =
            List.of("wait", "namespace", "room", "event", "is_error", "is_no_op", "body");

    /** An event that expects no reply. */
    public static Frame event(String namespace, String room, String event, Payload body) {
        return new Frame("", namespace, room, event, false, false, body);
    }

    /** The same frame with another token. */
    public Frame withWait(String token) {
        return new Frame(token, namespace, room, event, isError, isNoOp, body);
    }

    /**
     * The reply to this ask: the same frame with another body (AR-7), in the type of the ask
     * (AR-16).
     *
     * @throws CodecException the ask or the answer is text, and the answer is not UTF-8
     */
    public Frame reply(Payload answer) {
        int broken = Payload.firstBroken(answer.bytes());
        if (broken >= 0 && !(answer.isBinary() && body.isBinary())) {
            throw new CodecException(Reason.UTF8, answer.length(0, broken), "body"); // FR-12
        }
        Payload typed = new Payload(answer.bytes(), body.isBinary());
        return new Frame(waitField, namespace, room, event, false, isNoOp, typed);
    }

    /**
     * The error reply to this ask.
     *
     * @throws CodecException the text is empty: it would be read as success (FR-9)
     */
    public Frame errorReply(String text) {
        if (text.isEmpty()) {
            throw new CodecException(Reason.EMPTY_ERROR_TEXT, 0, "body");
        }
        Codec.checkUtf8(text, "body");
        Payload typed = new Payload(Payload.toBytes(text), body.isBinary());
        return new Frame(waitField, namespace, room, event, true, isNoOp, typed);
    }

    /**
     * The reply that says only that a change of membership has happened; always text (FR-13).
     *
     * @throws CodecException this is no ask
     */
    public Frame emptyReply() {
        if (waitField.isEmpty()) {
            throw new CodecException(Reason.NO_WAIT, 0, "wait");
        }
        return event("", "", "", Payload.EMPTY).withWait(waitField);
    }

    /** Whether this is such a reply: no other is success of a change of membership (AR-19). */
    public boolean isEmptyReply() {
        return !waitField.isEmpty()
                && namespace.isEmpty()
                && room.isEmpty()
                && event.isEmpty()
                && !isError
                && !isNoOp
                && body.isEmpty();
    }
}
