// A table that is wider than the screen can be scrolled from the keyboard, too (WCAG 2.1.1). The
// theme puts each table into a box that scrolls; one that fits is not a stop of the keyboard.
const stops = () => {
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
document$.subscribe(() => setTimeout(stops));
addEventListener("resize", stops);
