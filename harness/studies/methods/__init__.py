"""Whether T passes pay: methods of stating uncertainty, each with a temperature, beside another."""
