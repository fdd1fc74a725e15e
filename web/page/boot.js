import init from "./periplus.js";

init().catch((error) => {
  // Nothing else runs that could say so.
  document.getElementById("boot").textContent = `The dashboard cannot start: ${error}`;
});
