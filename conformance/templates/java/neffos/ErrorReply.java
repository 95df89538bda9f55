package neffos;

import java.util.Objects;

/** A handler that completes with this exception answers with an error, which has this text. */
public final class ErrorReply extends Exception {
    private static final long serialVersionUID = 1;

    /**
     * @param text for the peer (SEC-17); not empty (FR-9)
     */
    public ErrorReply(String text) {
        super(Objects.requireNonNull(text));
    }
}
