// Draws the page. Nothing is asked of any other host: the validator's badge would be, so there is none.
SwaggerUIBundle({
  url: "/docs/openapi.json",
  dom_id: "#operations",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  filter: true,
  tagsSorter: "alpha",
  tryItOutEnabled: true,
  validatorUrl: null,
});
