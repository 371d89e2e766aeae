/** A plain table: the first columns are words (left), the others numbers (right). */
export function table(head: string[], rows: string[][], wordColumns = 1): string[] {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)));
  const line = (cells: string[]): string =>
    cells
      .map((cell, i) => (i < wordColumns ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [line(head), widths.map((w) => '─'.repeat(w)).join('  '), ...rows.map((row) => line(head.map((_, i) => row[i] ?? '')))];
}
