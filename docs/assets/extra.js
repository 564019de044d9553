// Boxes that scroll by themselves can be reached with the keyboard (WCAG 2.1.1). The theme wraps tables while it starts.
const reach = () => {
  for (const box of document.querySelectorAll("pre > code, .md-typeset__scrollwrap"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
};
reach();
addEventListener("load", () => setTimeout(reach, 100));
addEventListener("resize", reach);
