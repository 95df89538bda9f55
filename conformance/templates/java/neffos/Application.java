package neffos;

import java.util.concurrent.CompletionStage;

/**
 * What a client calls, on one thread and one call after the other (EV-1). No method may wait: one
 * that needs time returns a stage that completes later.
 */
public interface Application {
    /**
     * Decides whether the server may connect a namespace or join a room.
     *
     * @return the text of a refusal (NS-4, RM-3), or null
     */
    default String refuse(Change change, String namespace, String room) {
        return null;
    }

    /**
     * Handles an event.
     *
     * @return what to reply: the body, or the exception {@link ErrorReply}; null to send nothing
     *     (AR-9)
     */
    CompletionStage<Payload> onEvent(Client client, Frame event);

    /** Handles a native message in the empty namespace; as {@code onEvent} (NM-2, NM-5, NM-7). */
    default CompletionStage<Payload> onNative(Client client, Payload message) {
        return null;
    }

    /** A namespace is now connected or disconnected, or a room joined or left. */
    default void onChange(Change change, String namespace, String room) {}

    /** A lost connection is open again; its namespaces and rooms follow. */
    default void onReconnect(String id) {}

    /** The connection has ended, and is not opened again. */
    default void onClose() {}
}
