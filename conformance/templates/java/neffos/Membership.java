package neffos;

/**
 * A namespace, or a room in it: rooms of one name in two namespaces are two (RM-11).
 *
 * @param namespace the namespace
 * @param room the room; null for the namespace itself
 */
record Membership(String namespace, String room) {
    /** What a frame that asks for a change is about: only a join or a leave has a room. */
    static Membership of(Change change, String namespace, String room) {
        return new Membership(namespace, change.isOfRoom() ? room : null);
    }

    Change entry() {
        return room == null ? Change.CONNECT : Change.JOIN;
    }

    Change exit() {
        return room == null ? Change.DISCONNECT : Change.LEAVE;
    }

    /** The room as frames and events have it. */
    String roomField() {
        return room == null ? "" : room;
    }
}
