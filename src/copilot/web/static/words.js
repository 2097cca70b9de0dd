// Durations in the format of the server.
export function inWords(seconds) {
  const s = Math.max(0, Math.round(seconds));
  const two = (n, big, m, small) => (m ? `${n} ${big} ${m} ${small}` : `${n} ${big}`);
  if (s < 60) return `${s} s`;
  if (s < 3600) return two(Math.floor(s / 60), "min", s % 60, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor((s % 3600) / 60), "min");
  return two(Math.floor(s / 86400), "d", Math.floor((s % 86400) / 3600), "h");
}
