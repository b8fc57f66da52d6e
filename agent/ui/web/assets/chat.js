// The one thing the page does by itself: after the end, come back. textual.js sets -closed on the body when the WebSocket closes.
"use strict";
const again = document.getElementById("again");
again.addEventListener("click", () => window.location.reload());
new MutationObserver(() => {
  if (document.body.classList.contains("-closed")) again.focus();
}).observe(document.body, { attributes: true, attributeFilter: ["class"] });
