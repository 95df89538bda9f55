package neffos;

/** The peer refused; its text may be empty (FR-8). */
public final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    Refused(String text) {
        super(text);
    }
}
