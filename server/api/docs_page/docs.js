// Shows /openapi.json. The token is typed into "Authorize"; it is not kept.
SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", validatorUrl: null, persistAuthorization: false });
