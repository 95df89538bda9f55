package neffos;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import neffos.Event.Cause;

/**
 * The namespaces and rooms of a session: the table {@code membership} of the specification. Of a
 * room, to connect is to join and to disconnect is to leave. The empty namespace is one like any
 * other (NS-15). A membership begins with the reply in its place among the messages (NS-16, RM-14), and
 * lasts until the reply to its end (NS-19). Every request has a token (NS-20), and
 * gets the empty reply or an error (AR-20).
 */
final class Memberships {
    private enum State {
        CONNECTING, DECIDING_CONNECT, CONNECTED, DISCONNECTING, DECIDING_DISCONNECT;

        /** Whether events flow. */
        boolean isLive() {
            return this == CONNECTED || this == DISCONNECTING || this == DECIDING_DISCONNECT;
        }

        /** Whether this peer waits for a reply. */
        boolean isAsking() {
            return this == CONNECTING || this == DISCONNECTING;
        }
    }

    /** The asks of the peer for one change, which wait for the application's decision. */
    private record Decision(Event.ChangeAsked asked, List<Frame> asks) {}

    private final Session session;
    private final Asks asks;
    private final SessionLimits limits;

    /** A membership that is not here is disconnected. */
    private final Map<Membership, State> states = new LinkedHashMap<>();

    private final Map<Membership, Decision> decisions = new LinkedHashMap<>();

    Memberships(Session session, Asks asks) {
        this.session = session;
        this.asks = asks;
        limits = session.settings.limits();
        asks.onChangeReplied(this::replied);
    }

    boolean isLive(String namespace, String room) {
        return isLive(new Membership(namespace, null))
                && (room.isEmpty() || isLive(new Membership(namespace, room)));
    }

    private boolean isLive(Membership membership) {
        State state = states.get(membership);
        return state != null && state.isLive();
    }

    List<String> rooms(String namespace) {
        return roomsOf(namespace).stream().filter(this::isLive).map(Membership::room).toList();
    }

    private List<Membership> roomsOf(String namespace) {
        return states.keySet().stream()
                .filter(each -> each.room() != null && each.namespace().equals(namespace))
                .toList();
    }

    boolean isDeciding() {
        return !decisions.isEmpty();
    }

    /** Whether a frame need not wait for decisions before it. */
    boolean overtakes(Frame frame) {
        Change change = Change.of(frame.event());
        if (change == Change.CONNECT && isUnknown(new Membership(frame.namespace(), null))) {
            return true;
        }
        return isAsking(new Membership(frame.namespace(), null))
                || change != null
                        && isAsking(Membership.of(change, frame.namespace(), frame.room()));
    }

    private boolean isAsking(Membership membership) {
        State state = states.get(membership);
        return state != null && state.isAsking();
    }

    // ---- Changes that this peer asks for ----

    String ask(Change change, Membership membership, double deadline) {
        String namespace = membership.namespace();
        if (change.isOfRoom()) {
            Session.require(isLive(namespace, ""), "the namespace is not connected"); // RM-6
            Session.require(!membership.room().isEmpty(), "a room has a name"); // RM-12
        }
        boolean isOffered =
                change != Change.CONNECT || session.settings.namespaces().contains(namespace);
        Session.require(isOffered, "the namespace is not offered here");
        State state = states.get(membership);
        State before = change.isEntry() ? null : State.CONNECTED;
        Session.require(state == before, "it is so already, or under way");
        Session.require(!change.isEntry() || !isFull(membership), "too many namespaces or rooms");
        Frame frame = Frame.event(namespace, membership.roomField(), change.event, Payload.EMPTY);
        String token = asks.ask(frame, change, membership, deadline);
        states.put(membership, change.isEntry() ? State.CONNECTING : State.DISCONNECTING);
        return token;
    }

    private void replied(String token, Asks.Pending ask, Frame reply) {
        boolean isDone = reply.isEmptyReply();
        if (!isDone && !reply.isError()) { // the peer did not do what was asked (AR-19)
            session.violated("AR-20", "the reply is neither empty nor an error");
        }
        Membership membership = ask.membership;
        State waiting = ask.change.isEntry() ? State.CONNECTING : State.DISCONNECTING;
        if (ask.isSuperseded || states.get(membership) != waiting) {
            return; // AR-11
        }
        if (!isDone) {
            if (ask.change.isEntry()) {
                states.remove(membership);
            } else {
                states.put(membership, State.CONNECTED); // NS-7, RM-7
            }
            session.report(new Event.ChangeRefused(
                    token, ask.change, membership.namespace(), membership.roomField(),
                    new String(reply.body().bytes(), StandardCharsets.UTF_8)));
        } else if (ask.change.isEntry()) {
            enter(membership, Cause.LOCAL);
        } else {
            exit(membership, Cause.LOCAL);
        }
    }

    // ---- Changes that the other peer asks for ----

    void asked(Change change, Frame frame) {
        if (frame.waitField().isEmpty() || frame.isNoOp() || frame.isError()) {
            return; // NS-2, NS-10, NS-12
        }
        if (change.isOfRoom() && !isLive(frame.namespace(), "")) {
            asks.refuse(frame, Session.BAD_NAMESPACE); // RM-6, NS-17
            return;
        }
        if (!change.isOfRoom() && frame.room().length() > limits.name()) {
            session.violated("SEC-2", "the room is too long");
            return;
        }
        Membership membership = Membership.of(change, frame.namespace(), frame.room());
        if (change.isEntry()) {
            entryAsked(membership, frame);
        } else {
            exitAsked(membership, frame);
        }
    }

    private void entryAsked(Membership membership, Frame frame) {
        State state = states.get(membership);
        if (state == State.CONNECTING) {
            asks.supersede(membership);
            done(frame);
            enter(membership, Cause.PEER); // NS-1, RM-1
        } else if (state == State.DECIDING_CONNECT) {
            queue(membership, frame);
        } else if (state != null) {
            done(frame); // NS-5, RM-4
        } else if (isUnknown(membership)) { // NS-3, RM-12
            boolean isRoom = membership.room() != null;
            asks.refuse(frame, isRoom ? Session.BAD_ROOM : Session.BAD_NAMESPACE);
        } else if (isFull(membership)) { // SEC-5, SEC-6
            refuseAsTooMany(frame, membership.room() == null ? "SEC-5" : "SEC-6");
        } else if (session.settings.decides().contains(membership.entry())) { // NS-4, RM-3
            askApplication(membership, membership.entry(), frame, State.DECIDING_CONNECT);
        } else {
            done(frame); // AR-8
            enter(membership, Cause.PEER); // NS-1, RM-1
        }
    }

    private void exitAsked(Membership membership, Frame frame) {
        State state = states.get(membership);
        // A client cannot refuse (NS-13).
        boolean decides =
                !session.isClient() && session.settings.decides().contains(membership.exit());
        if (state == State.DECIDING_DISCONNECT) {
            queue(membership, frame);
        } else if (state == State.CONNECTED && decides) { // NS-7, RM-7
            askApplication(membership, membership.exit(), frame, State.DECIDING_DISCONNECT);
        } else {
            done(frame); // NS-8, RM-5
            if (state == State.CONNECTED || state == State.DISCONNECTING) {
                asks.supersede(membership);
                exit(membership, Cause.PEER); // NS-6, RM-2
            }
        }
    }

    private void done(Frame ask) {
        session.send(Codec.encode(ask.emptyReply()));
    }

    private void refuseAsTooMany(Frame ask, String requirement) {
        session.violated(requirement, "too many");
        asks.refuse(ask, Session.TOO_MANY);
    }

    private boolean isUnknown(Membership membership) {
        String name = membership.room() == null ? membership.namespace() : membership.room();
        if (name.codePointCount(0, name.length()) > limits.name()) {
            return true;
        }
        return membership.room() == null
                ? !session.settings.namespaces().contains(name)
                : name.isEmpty();
    }

    private boolean isFull(Membership membership) {
        boolean isRoom = membership.room() != null;
        long count = states.keySet().stream().filter(each -> each.room() != null == isRoom).count();
        return count >= (isRoom ? limits.rooms() : limits.namespaces());
    }

    // ---- Decisions of the application ----

    private void askApplication(Membership membership, Change change, Frame frame, State state) {
        states.put(membership, state);
        Event.ChangeAsked asked = new Event.ChangeAsked(
                asks.nextNumber(), change, membership.namespace(), membership.roomField());
        decisions.put(membership, new Decision(asked, new ArrayList<>(List.of(frame))));
        session.report(asked);
    }

    private void queue(Membership membership, Frame frame) {
        List<Frame> waiting = decisions.get(membership).asks;
        if (waiting.size() >= limits.repeats()) {
            refuseAsTooMany(frame, "SEC-7");
        } else {
            waiting.add(frame);
        }
    }

    void allow(Event.ChangeAsked asked) {
        Membership membership = membershipOf(asked);
        decisions.remove(membership).asks.forEach(this::done);
        if (asked.change().isEntry()) {
            enter(membership, Cause.PEER);
        } else {
            exit(membership, Cause.PEER);
        }
    }

    void deny(Event.ChangeAsked asked, String text) {
        Membership membership = membershipOf(asked);
        List<Frame> waiting = decisions.get(membership).asks;
        waiting.get(0).errorReply(text); // throws before anything changes
        decisions.remove(membership);
        waiting.forEach(ask -> asks.refuse(ask, text));
        if (asked.change().isEntry()) {
            states.remove(membership);
        } else {
            states.put(membership, State.CONNECTED);
        }
    }

    private Membership membershipOf(Event.ChangeAsked asked) {
        Membership membership = Membership.of(asked.change(), asked.namespace(), asked.room());
        Decision decision = decisions.get(membership);
        boolean isWaiting = decision != null && decision.asked == asked;
        Session.require(isWaiting, "this ask was decided or withdrawn");
        return membership;
    }

    // ---- What changes ----

    private void enter(Membership membership, Cause cause) {
        states.put(membership, State.CONNECTED);
        report(membership.entry(), membership, cause);
    }

    private void report(Change change, Membership membership, Cause cause) {
        session.report(new Event.Changed(
                change, membership.namespace(), membership.roomField(), cause));
    }

    /** The rooms of a namespace end with it (NS-14), and its asks (NS-18). */
    private void exit(Membership membership, Cause cause) {
        if (membership.room() == null) {
            roomsOf(membership.namespace()).forEach(this::force);
            asks.endInside(membership.namespace());
        }
        states.remove(membership);
        report(membership.exit(), membership, cause);
    }

    /** The namespace or the connection of a membership has ended (TR-15). */
    private void force(Membership membership) {
        Decision decision = decisions.remove(membership);
        boolean wasLive = isLive(membership);
        if (wasLive && membership.room() == null) {
            roomsOf(membership.namespace()).forEach(this::force);
            asks.endInside(membership.namespace());
        }
        if (decision != null) {
            session.report(new Event.AskWithdrawn(decision.asked.number()));
        }
        if (wasLive) {
            report(membership.exit(), membership, Cause.FORCED);
        }
        states.remove(membership);
    }

    void end() {
        List<Membership> namespaces =
                states.keySet().stream().filter(each -> each.room() == null).toList();
        namespaces.forEach(this::force);
    }
}
