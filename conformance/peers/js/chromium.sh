#!/bin/sh
# Chromium, and behind its end no folder: browser.mjs sees to that itself, unless it was killed.
# Chromium ends then too, as the pipe does that it is steered through.
"$DRIVER_CHROMIUM" "$@"
status=$?
rm -rf -- "$DRIVER_FOLDER"
exit "$status"
