// What the page does by itself: give the terminal the keyboard once it shows something, and come back after the end.
// textual.js sets -first-byte and -closed on the body.
"use strict";
const again = document.getElementById("again");
again.addEventListener("click", () => window.location.reload());
let shown = false;
new MutationObserver(() => {
  const state = document.body.classList;
  if (state.contains("-closed")) {
    again.focus();
  } else if (!shown && state.contains("-first-byte")) {
    shown = true;
    const keyboard = document.querySelector(".xterm-helper-textarea");
    keyboard.focus();
    // The program begins with the belief that nobody looks, and may come to it only now: tell it again.
    setTimeout(() => {
      keyboard.blur();
      keyboard.focus();
    }, 500);
  }
}).observe(document.body, { attributes: true, attributeFilter: ["class"] });
