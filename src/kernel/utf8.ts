/** Sizes as they are stored and sent: a character of text is one to four bytes. */

const encoder = new TextEncoder();

export const utf8Bytes = (text: string): number => encoder.encode(text).byteLength;
