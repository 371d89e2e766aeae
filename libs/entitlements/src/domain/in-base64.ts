/**
 * What stands for a text inside the Base64 form of any bytes that hold it: three readings, by where in a group of three bytes it
 * begins. What its neighbours share in is left out, so each is a little shorter than the text's own Base64.
 */
export function inBase64(text: string): string[] {
  const bytes = Buffer.from(text);
  return [0, 1, 2].map((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
    const shared = (before + bytes.length) % 3;
    // The first characters hold bits of the bytes before, the last those of the bytes after.
    return whole.slice(before === 0 ? 0 : before + 1, shared === 0 ? undefined : -4 + shared);
  });
}
