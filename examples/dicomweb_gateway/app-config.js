// What the OHIF viewer reads first: its data source is the gateway.
window.config = {
  routerBasename: "/",
  extensions: [],
  modes: [],
  showStudyList: true,
  defaultDataSourceName: "dicomweb",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "dicomweb",
      configuration: {
        friendlyName: "the archive",
        name: "archive",
        qidoRoot: "/dicomweb",
        wadoRoot: "/dicomweb",
        wadoUriRoot: "/dicomweb",
        qidoSupportsIncludeField: true,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
      },
    },
  ],
};
