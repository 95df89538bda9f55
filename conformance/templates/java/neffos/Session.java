package neffos;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import neffos.Codec.Decoding;
import neffos.CodecException.Reason;
import neffos.Event.Cause;
import neffos.Message.NativeMode;

/**
 * The protocol state of one connection, for either peer. It has no socket, no clock and no thread.
 *
 * <p>A handshake message is one by its first byte (HS-7). Events of connected namespaces are
 * delivered, errors as errors (EV-2, EV-6), and every message in native-only mode (NM-6). A wait
 * field names no sender here (SX-10).
 *
 * <p>Give it every message that arrives ({@code receive}) and the end of the connection
 * ({@code ended}). After each call send what {@code outgoing} gives, act on what {@code events}
 * gives, and close the connection once {@code isClosed}.
 *
 * <p>A command that is not possible now throws an {@code IllegalStateException}, one that
 * cannot be written a {@code CodecException}. Neither changes anything.
 */
public final class Session {
    /** The events that are never sent (EV-4, EV-5). */
    static final Set<String> LOCAL_EVENTS =
            Set.of("_OnNamespaceConnected", "_OnRoomJoined", "_OnRoomLeft", "_OnAnyEvent");

    /** The event of a frame that carries a native message (NM-5). */
    static final String NATIVE_EVENT = "_OnNativeMessage";

    static final String BAD_NAMESPACE = "bad namespace";
    static final String BAD_ROOM = "bad room";
    static final String INVALID_PAYLOAD = "invalid payload";
    static final String TOO_MANY = "too many";

    /** Which peer of the connection this is. */
    public enum Role {
        CLIENT,
        SERVER
    }

    /**
     * What a session is made with.
     *
     * @param role which peer this is
     * @param tokens makes tokens that nobody can guess (AR-5, AR-6); those of a client, and no
     *     others, begin with {@code $} (AR-2, AR-3); hexadecimal digits follow (AR-4, AR-23)
     * @param id the connection's ID; a server's session needs one
     * @param namespaces those that the application offers; others are refused (NS-3)
     * @param decides the changes that the application decides; others that the peer asks for happen
     * @param decidesHandshake whether the application of a server decides on the handshake (HS-17)
     * @param nativeMode what becomes of payloads that are not frames
     * @param limits the bounds
     */
    public record Settings(
            Role role,
            Supplier<String> tokens,
            String id,
            Set<String> namespaces,
            Set<Change> decides,
            boolean decidesHandshake,
            NativeMode nativeMode,
            SessionLimits limits) {}

    private enum Phase { NEW, REQUESTED, AWAITING, DECIDING, OPEN, CLOSED }

    final Settings settings;
    private final Asks asks;
    private final Memberships memberships;
    private List<Payload> outgoing = new ArrayList<>();
    private List<Event> events = new ArrayList<>();
    private Phase phase;
    private String id;

    /** What arrived before the handshake was complete, or waits for a decision (HS-13, HS-14). */
    private final Deque<Payload> held = new ArrayDeque<>();

    private int heldSize;

    public Session(Settings settings) {
        this.settings = settings;
        asks = new Asks(this);
        memberships = new Memberships(this, asks);
        id = settings.id;
        phase = settings.nativeMode == NativeMode.ONLY ? Phase.OPEN
                : settings.role == Role.CLIENT ? Phase.NEW
                : Phase.AWAITING;
    }

    // ---- State ----

    public boolean isOpen() {
        return phase == Phase.OPEN;
    }

    public boolean isClosed() {
        return phase == Phase.CLOSED;
    }

    /** The connection's ID, once the session is open. */
    public String id() {
        return id;
    }

    /** Whether a namespace is connected and, if a room is named, that room is joined. */
    public boolean isMember(String namespace, String room) {
        return memberships.isLive(namespace, room);
    }

    /** The joined rooms of a namespace. */
    public List<String> rooms(String namespace) {
        return memberships.rooms(namespace);
    }

    /** The payloads to send, in order; each is given once. */
    public List<Payload> outgoing() {
        List<Payload> payloads = outgoing;
        outgoing = new ArrayList<>();
        return payloads;
    }

    /** The events since the last call, in order. */
    public List<Event> events() {
        List<Event> reported = events;
        events = new ArrayList<>();
        return reported;
    }

    void send(Payload payload) {
        outgoing.add(payload);
    }

    void report(Event event) {
        events.add(event);
    }

    void violated(String requirement, String explanation) {
        report(new Event.ProtocolViolation(requirement, explanation));
    }

    boolean isClient() {
        return settings.role == Role.CLIENT;
    }

    // ---- Input from outside ----

    /** Takes a message of the peer; nothing that a peer sends throws. */
    public void receive(Payload payload) {
        if (payload.bytes().length > settings.limits.payload() && phase != Phase.CLOSED) {
            fail("SEC-2", "the payload is too large");
        } else if (phase != Phase.OPEN) {
            receiveBeforeOpen(payload);
        } else if (!held.isEmpty() && !overtakes(payload)) {
            hold(payload);
        } else {
            read(payload);
            release(); // the message may have withdrawn the decision that others wait for
        }
    }

    /** The connection has ended (TR-14). */
    public void ended() {
        if (phase != Phase.CLOSED) {
            end(Cause.PEER);
        }
    }

    /** Expires asks. The time is on the clock of their deadlines (AR-15). */
    public void expire(double now) {
        asks.expire(now);
    }

    // ---- Commands: the connection ----

    /** Requests the handshake; the first call of a client (HS-1). */
    public void start() {
        require(phase == Phase.NEW, "the handshake was requested already, or is the client's");
        send(Handshake.encode(new Handshake.Request()));
        phase = Phase.REQUESTED;
    }

    /** Accepts the handshake that {@code HandshakeAsked} reported (HS-3). */
    public void accept() {
        require(phase == Phase.DECIDING, "no client waits for the handshake");
        open();
    }

    /** Refuses it, and ends the session (HS-4). */
    public void refuse(String text) {
        require(phase == Phase.DECIDING, "no client waits for the handshake");
        send(Handshake.encode(new Handshake.Refusal(text)));
        end(Cause.LOCAL);
    }

    /** Ends the session (TR-15). */
    public void close() {
        require(phase != Phase.CLOSED, "the session has ended");
        end(Cause.LOCAL);
    }

    // ---- Commands: membership ----

    /**
     * Asks for a change of membership. {@code Changed} or {@code ChangeRefused} reports what comes
     * of it.
     *
     * @param room the room of a join or a leave
     * @param deadline when the ask expires; infinity: never
     * @return the token of the ask
     */
    public String ask(Change change, String namespace, String room, double deadline) {
        requireFrames();
        return memberships.ask(change, Membership.of(change, namespace, room), deadline);
    }

    /** Lets a change happen that the peer asks for. */
    public void allow(Event.ChangeAsked asked) {
        memberships.allow(asked);
        release();
    }

    /** Refuses it, with a text for people (NS-4, RM-3). */
    public void deny(Event.ChangeAsked asked, String text) {
        memberships.deny(asked, text);
        release();
    }

    // ---- Commands: events ----

    /** Sends an event that expects no reply. */
    public void emit(String namespace, String room, String event, Payload body) {
        requireMember(namespace, room, event);
        send(Codec.encode(Frame.event(namespace, room, event, body)));
    }

    /** Sends an error text that answers an event without a token (AR-10). */
    public void emitError(String namespace, String room, String event, Payload text) {
        requireMember(namespace, room, event);
        require(!text.isEmpty(), "an error has a text (FR-9)");
        send(Codec.encode(new Frame("", namespace, room, event, true, false, text)));
    }

    /**
     * Sends an event that expects a reply (AR-1). {@code Replied}, {@code AskExpired} or
     * {@code AskCancelled} reports the outcome.
     *
     * @return the token of the ask
     */
    public String ask(String namespace, String room, String event, Payload body, double deadline) {
        requireMember(namespace, room, event);
        Membership home = new Membership(namespace, null);
        return asks.ask(Frame.event(namespace, room, event, body), null, home, deadline);
    }

    /** Answers an ask of the peer (AR-7). */
    public void reply(Event.Asked asked, Payload body) {
        asks.answer(asked, asked.frame().reply(body));
    }

    /** Answers an ask of the peer with an error. */
    public void replyError(Event.Asked asked, String text) {
        asks.answer(asked, asked.frame().errorReply(text));
    }

    /** Leaves an ask of the peer without a reply (AR-9). */
    public void ignore(Event.Asked asked) {
        asks.answer(asked, null);
    }

    /** Sends a native message (NM-1). */
    public void sendNative(Payload payload) {
        require(phase == Phase.OPEN, "the handshake is not complete");
        send(Codec.encode(new Message.Native(payload), settings.nativeMode));
    }

    private void requireMember(String namespace, String room, String event) {
        requireFrames();
        require(memberships.isLive(namespace, ""), "the namespace is not connected"); // NS-11
        require(memberships.isLive(namespace, room), "the room is not joined"); // RM-10
        boolean isOwn = Change.of(event) != null || LOCAL_EVENTS.contains(event);
        require(!isOwn, "the event is the protocol's own"); // EV-5
    }

    private void requireFrames() {
        require(phase == Phase.OPEN, "the handshake is not complete");
        require(settings.nativeMode != NativeMode.ONLY, "a native-only session has no namespaces");
    }

    static void require(boolean isPossible, String explanation) {
        if (!isPossible) {
            throw new IllegalStateException(explanation);
        }
    }

    // ---- The handshake and the end ----

    private void receiveBeforeOpen(Payload payload) {
        if (payload.isEmpty() || phase == Phase.CLOSED) {
            return; // FR-14
        }
        Handshake message;
        try {
            message = Handshake.decode(payload, Decoding.LENIENT);
        } catch (CodecException notOfTheHandshake) {
            hold(payload); // HS-10, HS-13, HS-14
            return;
        }
        if (phase == Phase.REQUESTED && message instanceof Handshake.Acceptance acceptance) {
            id = acceptance.id();
            phase = Phase.OPEN;
            report(new Event.Opened(id)); // HS-3
            release(); // HS-18
        } else if (phase == Phase.REQUESTED && message instanceof Handshake.Refusal refusal) {
            report(new Event.HandshakeRefused(refusal.text())); // HS-16
            end(Cause.PEER);
        } else if (phase == Phase.AWAITING && message instanceof Handshake.Request) {
            if (settings.decidesHandshake) {
                phase = Phase.DECIDING; // HS-17
                report(new Event.HandshakeAsked());
            } else {
                open();
            }
        } else if (isClient()) {
            violated("HS-12", "an unexpected handshake message");
        } else if (message instanceof Handshake.Request) {
            violated("HS-11", "the handshake was requested twice");
        } else if (phase == Phase.DECIDING) {
            fail("HS-11", "a message before the answer to the handshake request"); // HS-9
        } else {
            fail("HS-1", "the client's first message requests no handshake"); // HS-9
        }
    }

    private void open() {
        send(Handshake.encode(new Handshake.Acceptance(id)));
        phase = Phase.OPEN;
        report(new Event.Opened(id));
        release();
    }

    private void hold(Payload payload) {
        heldSize += payload.bytes().length;
        if (held.size() >= settings.limits.held() || heldSize > settings.limits.heldSize()) {
            fail("SEC-3", "too much was sent before the handshake");
        } else {
            held.add(payload);
        }
    }

    /** Reads what was held, up to a message that the application has to decide on (EV-1). */
    private void release() {
        while (!held.isEmpty() && !memberships.isDeciding() && phase == Phase.OPEN) {
            Payload payload = held.remove();
            heldSize -= payload.bytes().length;
            read(payload);
        }
    }

    private void fail(String requirement, String explanation) {
        violated(requirement, explanation);
        end(Cause.VIOLATION);
    }

    private void end(Cause cause) {
        phase = Phase.CLOSED;
        memberships.end();
        asks.end();
        held.clear();
        report(new Event.Closed(cause));
    }

    // ---- The messages of an open session ----

    /**
     * Whether a message need not wait for decisions before it: it is a reply, or is about a
     * membership that this peer asks to change. It may be what those decisions wait for.
     */
    private boolean overtakes(Payload payload) {
        Message message;
        try {
            message = Codec.decode(payload, settings.nativeMode);
        } catch (CodecException refused) {
            return false;
        }
        return message instanceof Frame frame
                && (asks.isPending(frame.waitField()) || memberships.overtakes(frame));
    }

    private void read(Payload payload) {
        Message message;
        try {
            message = Codec.decode(payload, settings.nativeMode);
        } catch (CodecException refused) { // it is neither a frame nor a native message
            if (refused.reason() != Reason.EMPTY) {
                violated("FR-2", refused.getMessage()); // FR-16, HS-8
            }
            return;
        }
        if (message instanceof Message.Native given) {
            // Beside frames, native messages belong to the empty namespace (NM-4).
            if (settings.nativeMode == NativeMode.ONLY || memberships.isLive("", "")) {
                report(new Event.NativeReceived(given.payload(), ""));
            }
        } else if (message instanceof Frame frame && isAcceptable(frame)) {
            readFrame(frame);
        }
    }

    /** Whether it can be answered: what cannot be written again, or kept, is dropped. */
    private boolean isAcceptable(Frame frame) {
        String names = frame.namespace() + frame.room() + frame.event() + frame.waitField();
        Payload body = frame.body();
        boolean isUtf8 = Payload.firstBroken(names) < 0
                && (body.isBinary() || Payload.isUtf8(body.bytes()));
        if (!isUtf8) {
            violated("FR-12", "text or fields that are not UTF-8");
        } else if (frame.waitField().length() > settings.limits.token()) {
            violated("SEC-2", "the token is too long");
        } else if (isOverlong(frame)) {
            violated("SEC-2", "a name is too long");
        } else {
            return true;
        }
        return false;
    }

    private boolean isOverlong(Frame frame) {
        if (asks.areShort(frame.namespace(), frame.room(), frame.event())) {
            return false;
        }
        // A change that is asked for is refused, so that its caller does not wait.
        boolean isAsk = !frame.waitField().isEmpty() && !asks.mayBeReply(frame.waitField());
        return !isAsk || Change.of(frame.event()) == null;
    }

    private void readFrame(Frame received) {
        if (asks.isReply(received)) {
            return;
        }
        Frame frame = received;
        if (!isClient() && Wait.parse(frame.waitField()).isFromExchange()) {
            frame = frame.withWait(Wait.parse(frame.waitField()).token()); // SX-2
        }
        Change change = Change.of(frame.event());
        if (change != null) {
            memberships.asked(change, frame);
        } else if (LOCAL_EVENTS.contains(frame.event())) {
            violated("EV-5", "a local event was sent");
            asks.refuse(frame, INVALID_PAYLOAD);
        } else if (!memberships.isLive(frame.namespace(), "")) {
            asks.refuse(frame, BAD_NAMESPACE); // NS-9, NS-17
        } else if (!frame.waitField().isEmpty()) {
            asks.asked(frame);
        } else if (settings.nativeMode == NativeMode.FALLBACK
                && frame.event().equals(NATIVE_EVENT)
                && !frame.isError()
                && memberships.isLive(frame.namespace(), frame.room())) {
            report(new Event.NativeReceived(frame.body(), frame.namespace())); // NM-5
        } else {
            report(new Event.Received(frame));
        }
    }
}
