//! What the signatures of providers are marked with where another format holds them, so that each goes back to the provider that gave it.
//! Anthropic's stand as they are: base64 has no colon.

/// Of OpenAI's encrypted thoughts.
pub const OPENAI: &str = "openai:";

/// Of a thought of Gemini, and of a text.
pub const GOOGLE: &str = "google:";
pub const GOOGLE_TEXT: &str = "google-text:";

/// What the encrypted content of a client of Responses begins with where it is another provider's signature, or a thought that only
/// its provider can read.
pub const SIGNED: &str = "tollgate-signature:";
pub const REDACTED: &str = "tollgate-redacted:";

/// What Gemini takes in the place of a signature that the history has lost. Google documents it.
pub const NO_SIGNATURE: &str = "skip_thought_signature_validator";
