// Runs before the page is painted, so that a chosen theme does not flash. A page from disk may be denied storage.
try {
  const chosen = localStorage.getItem("report-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch { /* the system's theme it is */ }
