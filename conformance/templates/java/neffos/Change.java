package neffos;

/** The four changes of membership that either peer can ask for (EV-3). */
public enum Change {
    CONNECT("_OnNamespaceConnect"),
    DISCONNECT("_OnNamespaceDisconnect"),
    JOIN("_OnRoomJoin"),
    LEAVE("_OnRoomLeave");

    /** The event that asks for the change. */
    final String event;

    Change(String event) {
        this.event = event;
    }

    /** The change that an event asks for, or null. */
    static Change of(String event) {
        for (Change change : values()) {
            if (change.event.equals(event)) {
                return change;
            }
        }
        return null;
    }

    /** Whether it connects or joins, and does not disconnect or leave. */
    public boolean isEntry() {
        return this == CONNECT || this == JOIN;
    }

    /** Whether it is about a room, and not about a namespace. */
    public boolean isOfRoom() {
        return this == JOIN || this == LEAVE;
    }

    @Override
    public String toString() {
        return name().toLowerCase();
    }
}
