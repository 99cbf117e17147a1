// The colours of the pictures, light and dark as the reader has it.
export const colors = `
  :root { --paper: #fbfbfc; --ink: #24292f; --faint: #6b7280; --line: #d5d9df; --red: #b42318; --green: #1a7f37;
    --yellow: #8a6100; --blue: #1f5fbf; --violet: #7a3fb0; --cyan: #0b7285; --gray: #aab2bd; }
  @media (prefers-color-scheme: dark) {
    :root { --paper: #14171c; --ink: #d7dce3; --faint: #8b94a1; --line: #333a44; --red: #ff8a7a; --green: #6fd08c;
      --yellow: #e3b341; --blue: #6ea8fe; --violet: #c29bf0; --cyan: #66cde0; --gray: #57606c; }
  }
  body { margin: 0; background: transparent; }`
