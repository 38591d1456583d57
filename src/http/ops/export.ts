/** A long export: read page by page, each when the one before it has been taken, and sent while it is read. */

export type ExportLines<Row> = {
  /** Before the first row. */
  readonly head: string;
  readonly line: (row: Row) => string;
  readonly headers: Readonly<Record<string, string>>;
};

/**
 * The first page is read before anything is sent: a database that is away is a problem, not a broken stream. One that
 * breaks off in the middle errors, and never ends as if it were whole.
 */
export const streamPages = async <Row>(
  pages: AsyncGenerator<readonly Row[], undefined>,
  { head, line, headers }: ExportLines<Row>,
): Promise<Response> => {
  const encoder = new TextEncoder();
  let next: IteratorResult<readonly Row[], undefined> | undefined = await pages.next();
  let before = head;
  const body = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const page = next ?? (await pages.next());
      next = undefined;
      if (page.done === true) {
        controller.close();
        return;
      }
      // An empty chunk would be no progress, and nobody would pull again.
      const text = before + page.value.map(line).join("");
      before = "";
      if (text === "") controller.close();
      else controller.enqueue(encoder.encode(text));
    },
    cancel: async () => {
      await pages.return(undefined);
    },
  });
  return new Response(body, { headers });
};
