/**
 * CSV (RFC 4180) that a spreadsheet reads as text and numbers, and never as a formula: a cell that begins with `=`, `+`,
 * `-`, `@`, a tab or a line end gets an apostrophe before it. Numbers are written as they are.
 */
export type CsvCell = string | number | null;

export const csvLine = (cells: readonly CsvCell[]): string => `${cells.map(csvCell).join(",")}\r\n`;

const csvCell = (cell: CsvCell): string => {
  if (cell === null) return "";
  if (typeof cell === "number") return String(cell);
  const inert = /^[=+\-@\t\r\n]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(inert) ? `"${inert.replaceAll('"', '""')}"` : inert;
};
