/** Settings are read by the program that is started; this hands them on. AWS's client warns about Node 20 unless told not to. */
export const childEnvironment = (): Record<string, string | undefined> => ({
  ...process.env,
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true',
});
