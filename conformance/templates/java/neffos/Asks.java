package neffos;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The pending asks of a session, of either peer. A reply repeats the wait field of its ask,
 * whatever its form (AR-18), once and on the same connection (AR-22).
 */
final class Asks {
    /** Tokens of settled asks that are remembered, to recognise late replies (AR-21). */
    private static final int SETTLED = 32;

    /** An ask of this peer without its reply. */
    static final class Pending {
        /** What a system ask asks for; null for an event ask. */
        final Change change;

        /** The membership of a system ask; the namespace of an event ask. */
        final Membership membership;

        double deadline;

        /** The other peer has asked for the same: the reply changes nothing (AR-11, NS-18, RM-13). */
        boolean isSuperseded;

        Pending(Change change, Membership membership, double deadline) {
            this.change = change;
            this.membership = membership;
            this.deadline = deadline;
        }

        /** Whether it ends with its namespace: an event ask, or one about a room. */
        boolean isInside() {
            return change == null || membership.room() != null;
        }
    }

    /** Called with the reply to a system ask. */
    interface ChangeReplied {
        void accept(String token, Pending ask, Frame reply);
    }

    private final Session session;
    private final SessionLimits limits;
    private final Map<String, Pending> pending = new LinkedHashMap<>();
    private final Deque<String> settled = new ArrayDeque<>();

    /** The asks of the other peer that the application is to answer, by number. */
    private final Map<Integer, Frame> incoming = new LinkedHashMap<>();

    private int number;
    private ChangeReplied onChangeReplied;

    Asks(Session session) {
        this.session = session;
        limits = session.settings.limits();
    }

    void onChangeReplied(ChangeReplied action) {
        onChangeReplied = action;
    }

    /** A number for an ask of the other peer, which the application replies by. */
    int nextNumber() {
        return ++number;
    }

    // ---- Asks of this peer ----

    /** Sends an ask; gives its token. */
    String ask(Frame frame, Change change, Membership membership, double deadline) {
        Session.require(pending.size() < limits.outgoingAsks(), "too many asks are pending");
        boolean isShort = areShort(frame.namespace(), frame.room(), frame.event());
        Session.require(isShort, "a name is too long"); // the reply would be dropped
        String token = session.settings.tokens().get();
        session.send(Codec.encode(frame.withWait(token)));
        pending.put(token, new Pending(change, membership, deadline));
        return token;
    }

    boolean areShort(String namespace, String room, String event) {
        int longest = Math.max(length(namespace), length(room));
        if (Change.of(event) == null) {
            longest = Math.max(longest, length(event));
        }
        return longest <= limits.name();
    }

    private static int length(String text) {
        return text.codePointCount(0, text.length());
    }

    boolean isPending(String waitField) {
        return pending.containsKey(waitField) || pending.containsKey(Wait.parse(waitField).token());
    }

    /** Whether a token may be one of this peer's. */
    boolean mayBeReply(String waitField) {
        boolean isMarked = waitField.length() > 1 && waitField.charAt(1) == Wait.EXCHANGE_MARKER;
        return isMarked || waitField.startsWith(Wait.CLIENT_PREFIX) == session.isClient();
    }

    /**
     * Whether a frame answers an ask of this peer, or did. Then it is dealt with: the token alone
     * decides (AR-11, AR-13).
     */
    boolean isReply(Frame frame) {
        String waitField = frame.waitField();
        if (waitField.isEmpty() || !mayBeReply(waitField)) {
            return false;
        }
        Wait wait = Wait.parse(waitField);
        for (String token : List.of(waitField, wait.token())) {
            if (pending.containsKey(token)) {
                settle(token, frame);
                return true;
            }
        }
        if (settled.contains(waitField) || settled.contains(wait.token())) {
            session.report(new Event.UnmatchedReply(frame)); // AR-21: it is not an ask
            return true;
        }
        if (session.isClient() && wait.kind() == Wait.Kind.CLIENT_ASK) {
            boolean isAnswer =
                    frame.isError() || frame.isEmptyReply() || Change.of(frame.event()) != null;
            boolean isLocal = Session.LOCAL_EVENTS.contains(frame.event()); // EV-4
            if (isAnswer || isLocal || !session.isMember(frame.namespace(), "")) {
                session.report(new Event.UnmatchedReply(frame));
            } else { // a server left in the token of another client's ask
                session.violated("AR-17", "the token is another client's");
                session.report(new Event.Received(frame));
            }
            return true;
        }
        if (!session.isClient() && wait.kind() != Wait.Kind.CLIENT_ASK) {
            session.violated("AR-2", "the token does not begin with '$'");
        }
        return false;
    }

    private void settle(String token, Frame reply) {
        Pending ask = pending.get(token);
        forget(token);
        if (ask.change == null) {
            session.report(new Event.Replied(token, reply));
        } else {
            onChangeReplied.accept(token, ask, reply);
        }
    }

    private void forget(String token) {
        pending.remove(token);
        settled.add(token);
        if (settled.size() > SETTLED) {
            settled.remove();
        }
    }

    /** A system ask stays pending: the other peer may still do what was asked (AR-15). */
    void expire(double now) {
        for (Map.Entry<String, Pending> each : List.copyOf(pending.entrySet())) {
            Pending ask = each.getValue();
            if (ask.deadline <= now) {
                ask.deadline = Double.POSITIVE_INFINITY;
                if (ask.change == null) {
                    forget(each.getKey());
                }
                session.report(new Event.AskExpired(each.getKey()));
            }
        }
    }

    void supersede(Membership membership) {
        for (Pending ask : pending.values()) {
            if (ask.change != null && ask.membership.equals(membership)) {
                ask.isSuperseded = true;
            }
        }
    }

    /** Ends all asks of this peer (AR-14). */
    void end() {
        List.copyOf(pending.keySet()).forEach(this::cancel);
        incoming.clear();
    }

    /** Ends the asks inside a namespace, of either peer (NS-18). */
    void endInside(String namespace) {
        for (Map.Entry<String, Pending> each : List.copyOf(pending.entrySet())) {
            Pending ask = each.getValue();
            if (ask.isInside() && ask.membership.namespace().equals(namespace)) {
                cancel(each.getKey());
            }
        }
        for (Map.Entry<Integer, Frame> each : List.copyOf(incoming.entrySet())) {
            if (each.getValue().namespace().equals(namespace)) {
                incoming.remove(each.getKey());
                session.report(new Event.AskWithdrawn(each.getKey()));
            }
        }
    }

    private void cancel(String token) {
        forget(token);
        session.report(new Event.AskCancelled(token));
    }

    // ---- Asks of the other peer ----

    /** Refuses an ask, unless it may be a reply itself. */
    void refuse(Frame frame, String text) {
        if (!frame.waitField().isEmpty() && !frame.isError()) {
            session.send(Codec.encode(frame.errorReply(text)));
        }
    }

    void asked(Frame frame) {
        if (incoming.size() >= limits.incomingAsks()) {
            session.violated("SEC-7", "too many asks wait for their answer");
            refuse(frame, Session.TOO_MANY);
            return;
        }
        incoming.put(nextNumber(), frame);
        session.report(new Event.Asked(number, frame));
    }

    /** Answers an ask, or leaves it without a reply if there is none. */
    void answer(Event.Asked asked, Frame reply) {
        boolean isPending = incoming.get(asked.number()) == asked.frame();
        Session.require(isPending, "this ask was answered or withdrawn");
        if (reply != null) {
            session.send(Codec.encode(reply));
        }
        incoming.remove(asked.number());
    }
}
