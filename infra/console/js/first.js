// Before the first paint, so that a remembered theme or language does not flash.
(function () {
  let theme = null;
  let language = null;
  try {
    theme = localStorage.getItem("adtailor.theme");
    language = localStorage.getItem("adtailor.language");
  } catch {
    // A browser without storage starts with its own settings.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  if (language !== "zh" && language !== "en") language = (navigator.language || "en").startsWith("zh") ? "zh" : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
})();
